"""Killed anywhere and run again, a build gives the bytes of an undisturbed one."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpus.builder import write_source

SHARD_STEPS = [
    "read", "line_hashes", "lines", "sketch", "ids", "links", "quotes", "clusters",
    "examples", "score", "rank", "survivors", "leaked", "write",
]  # fmt: skip
PARTITION_STEPS = [
    "line_counts", "identity", "bands", "join-1-large", "join-1-small", "labels",
    "pairs", "contained", "group-1-large", "group-1-small", "groups", "families",
    "best", "shared",
]  # fmt: skip
DRIVER = [
    *(f"corpus.build.{step}" for step in (*SHARD_STEPS, *PARTITION_STEPS, "train")),
    "unit.train.before_publish",
    "artifact.before_commit",
]
WORKER = [
    f"unit.{step}.{place}"
    for step in (*SHARD_STEPS, *PARTITION_STEPS)
    for place in ("before_publish", "after_publish")
]
ONE_PIECE = [
    f"{place}.{step}{when}"
    for step in ("clusters", "survivors")
    for place, when in (
        ("unit", ".before_publish"), ("unit", ".after_publish"), ("corpus.build", ""),
    )
]  # fmt: skip
"""Where everything fits into one partition, these steps are one unit each."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(source folder, digest of its corpus)."""
    root = tmp_path_factory.mktemp("kills")
    write_source(root / "source", random.Random(), each=30)
    return root / "source", _digest(root / "store", root / "source", "3")


def _digest(store: Path, source: Path, partitions: str) -> str:
    result = _run(store, source, partitions=partitions)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.split()[-1]


def _run(
    store: Path, source: Path, failpoint: str | None = None, partitions: str = "3"
) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if failpoint:
        token = store.parent / "token"
        token.touch()
        environment["INKSTONE_FAILPOINT"] = f"{failpoint}:{token}"
    command = [
        sys.executable,
        "-m",
        "tests.corpus.builder",
        str(store),
        str(source),
        "2",
        partitions,
    ]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, timeout=500
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
def test_every_failpoint_of_a_build_in_one_piece(
    undisturbed: tuple[Path, str], tmp_path: Path
) -> None:
    source = undisturbed[0]
    digest = _digest(tmp_path / "whole", source, "1")
    for failpoint in ONE_PIECE:
        store = tmp_path / failpoint / "store"
        store.parent.mkdir()
        _run(store, source, failpoint, partitions="1")
        assert not (store.parent / "token").exists(), f"{failpoint} was never reached"
        assert _digest(store, source, "1") == digest


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
