"""A disk that is full, for tests: what a command says on it, and what the same gives with room."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_OWN = ("unshare", "--map-root-user", "--mount")


def run_on_full_disk(store: Path, size: int, *module: str) -> tuple[str, str]:
    """Run a module twice: with ``size`` bytes for ``store``, then with more.

    Returns:
        Exit status and stderr of the first run; the last word of the second.
    """
    store.mkdir()
    try:
        subprocess.run([*_OWN, "mount", "-t", "tmpfs", "tmpfs", str(store)], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system of one's own can be mounted here")
    command = [*_OWN, sys.executable, "-m", "tests.drive_full_disk", str(store), str(size)]
    done = subprocess.run(
        [*command, *module], cwd=ROOT, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    full, again = done.stdout.splitlines()
    return full, again
