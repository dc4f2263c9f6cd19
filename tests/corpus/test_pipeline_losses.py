"""A node that dies in mid-build, and a disk that is full: the bytes of an undisturbed build."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpus.builder import write_source
from tests.full_disk import ROOT, run_on_full_disk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    """(source folder, digest of its corpus, bytes on disk of the store)."""
    root = tmp_path_factory.mktemp("losses")
    write_source(root / "source", random.Random(), each=30)
    store = str(root / "store")
    made = _run("tests.corpus.builder", store, str(root / "source"), "2", "3")
    used = int(subprocess.check_output(["du", "-sB1", store]).split()[0])
    return root / "source", made[-1], used


def _run(*module: str) -> list[str]:
    command = [sys.executable, "-m", *module]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def test_nodes_that_die_change_nothing(undisturbed: tuple[Path, str, int], tmp_path: Path) -> None:
    source, digest, _ = undisturbed
    said = _run("tests.corpus.drive_lost_node", str(tmp_path / "store"), str(source))
    killed = [line for line in said if line.startswith("killed after")]
    print(killed)
    assert len(killed) == 2
    assert digest in said


def test_a_full_disk_is_said_and_the_same_command_goes_on(
    undisturbed: tuple[Path, str, int], tmp_path: Path
) -> None:
    source, digest, used = undisturbed
    store = tmp_path / "store"
    size = int(used * random.SystemRandom().uniform(0.1, 0.8))
    build = ("tests.corpus.builder", str(store), str(source), "2", "3")
    full, again = run_on_full_disk(store, size, *build)
    print(full)
    assert not full.startswith("0 ")
    assert "disk is full" in full or "No space left" in full
    assert again == digest
