"""Kill -9 of driver, worker and endpoint in the middle of a rollout."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clusters.artifact import Artifact
from clusters.failpoints import VARIABLE
from tests.agents.rollout_driver import CONFIG, roll_out
from tests.processes import pids_of

DRIVER = [
    "agents.rollout.serving",
    "agents.rollout.episode_done",
    "agents.rollout.before_gather",
    "artifact.before_commit",
    "artifact.after_commit",
]
WORKER = [
    "agents.rollout.between_steps",
    "unit.episode.before_publish",
    "unit.episode.after_publish",
]


def drive(checkpoint: Artifact, store: Path, failpoint: str) -> subprocess.CompletedProcess[str]:
    """Run the stage in a process and a Ray of its own, with one failpoint armed."""
    store.mkdir()
    token = store.parent / "token"
    token.touch()
    command = [sys.executable, "-m", "tests.agents.rollout_driver", checkpoint.directory, store]
    environment = os.environ | {VARIABLE: f"{failpoint}:{token}"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert not token.exists(), f"{failpoint} was never reached: {done.stderr[-2000:]}"
    return done


def published(store: Path) -> list[str]:
    return sorted(path.stem for path in store.glob("trajectories/*/work/units/episode/*.json"))


def replayed(store: Path) -> list[str]:
    """Episodes that the log says were played, in this process or the one before."""
    path = store / "logs" / "stage" / "episodes.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["episode_id"] for line in lines]


def assert_same(one: Artifact, other: Artifact) -> None:
    assert one.manifest.digest == other.manifest.digest
    assert one.verify() == []
    rows = pq.read_table(one.path("trajectories.parquet")).to_pylist()
    steps = [(row["episode_id"], row["turn"]) for row in rows]
    assert len(set(steps)) == len(steps)
    assert len({episode for episode, _ in steps}) == CONFIG.episodes


def kill_and_rerun(failpoint: str, played: Artifact, checkpoint: Artifact, store: Path) -> None:
    done = drive(checkpoint, store, failpoint)
    if failpoint in WORKER:  # the driver outlives its worker: nothing to run again
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.strip().endswith(played.manifest.digest)
        return
    assert done.returncode == -signal.SIGKILL
    kept = published(store)
    if failpoint == "agents.rollout.episode_done":
        assert 1 <= len(kept) < CONFIG.episodes
    before = replayed(store)
    assert_same(roll_out(checkpoint, store), played)
    assert not set(kept) & set(replayed(store)[len(before) :])  # published: not played again


def test_a_random_failpoint(played: Artifact, checkpoint: Artifact, tmp_path: Path) -> None:
    kill_and_rerun(random.choice(WORKER + DRIVER), played, checkpoint, tmp_path / "store")


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", WORKER + DRIVER)
def test_every_failpoint(
    failpoint: str, played: Artifact, checkpoint: Artifact, tmp_path: Path
) -> None:
    kill_and_rerun(failpoint, played, checkpoint, tmp_path / "store")


def test_a_dead_endpoint_and_another_concurrency_change_nothing(
    played: Artifact, checkpoint: Artifact, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_a_replica() -> None:
        wait_for(lambda: published(tmp_path))
        for pid in pids_of("ServeReplica"):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    killer = threading.Thread(target=kill_a_replica)
    killer.start()
    survived = roll_out(checkpoint, tmp_path, concurrency=1)
    killer.join()
    assert killed
    assert survived.manifest.fingerprint == played.manifest.fingerprint
    assert_same(survived, played)


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + 400
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)
