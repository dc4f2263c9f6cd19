"""Killed anywhere and run again, a build gives the bytes of an undisturbed one."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpus.builder import write_source

DRIVER = [
    "corpus.build.read",
    "corpus.build.cluster",
    "corpus.build.train",
    "corpus.build.score",
    "corpus.build.select",
    "corpus.build.write",
    "unit.cluster.before_publish",
    "unit.train.before_publish",
    "unit.select.after_publish",
    "artifact.before_commit",
]
WORKER = [
    f"unit.{step}.{place}"
    for step in ("read", "score", "write")
    for place in ("before_publish", "after_publish")
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(source folder, digest of its corpus)."""
    root = tmp_path_factory.mktemp("kills")
    write_source(root / "source", random.Random(), each=30)
    result = _run(root / "store", root / "source")
    assert result.returncode == 0, result.stderr[-2000:]
    return root / "source", result.stdout.split()[-1]


def _run(
    store: Path, source: Path, failpoint: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if failpoint:
        token = store.parent / "token"
        token.touch()
        environment["INKSTONE_FAILPOINT"] = f"{failpoint}:{token}"
    command = [sys.executable, "-m", "tests.corpus.builder", str(store), str(source), "2"]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, timeout=300
    )


def _killed_driver_resumes(failpoint: str, source: Path, digest: str, store: Path) -> None:
    killed = _run(store, source, failpoint)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert not (store.parent / "token").exists()
    again = _run(store, source)
    assert again.returncode == 0, again.stderr[-2000:]
    assert again.stdout.split()[-1] == digest


def _killed_worker_is_survived(failpoint: str, source: Path, digest: str, store: Path) -> None:
    result = _run(store, source, failpoint)
    assert not (store.parent / "token").exists(), "the failpoint was never reached"
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split()[-1] == digest


def test_a_killed_driver_resumes_to_the_same_digest(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    failpoint = random.SystemRandom().choice(DRIVER)
    print("killed at", failpoint)
    _killed_driver_resumes(failpoint, *undisturbed, tmp_path / "store")


def test_a_killed_worker_changes_nothing(undisturbed: tuple[Path, str], tmp_path: Path) -> None:
    failpoint = random.SystemRandom().choice(WORKER)
    print("killed at", failpoint)
    _killed_worker_is_survived(failpoint, *undisturbed, tmp_path / "store")


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", DRIVER)
def test_every_driver_failpoint(
    failpoint: str, undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    _killed_driver_resumes(failpoint, *undisturbed, tmp_path / "store")


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", WORKER)
def test_every_worker_failpoint(
    failpoint: str, undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    _killed_worker_is_survived(failpoint, *undisturbed, tmp_path / "store")
