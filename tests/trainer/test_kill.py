"""Kill it anywhere: the rerun ends with the bytes of an undisturbed run."""

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clusters.artifact import Artifact
from clusters.failpoints import VARIABLE
from tests.trainer.inputs import Inputs, run_pretrain, run_sft

PLACES = ["before_save", "in_save", "after_save", "mid_step"]
DRIVER_PLACES = [
    *(f"trainer.pretrain.{place}" for place in PLACES),
    "artifact.before_commit",
    "artifact.after_commit",
]
RAY_SECONDS = 500


def drive(
    stage: str, workers: int, store: Path, parents: list[Artifact], kill_at: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    environment.pop(VARIABLE, None)
    if kill_at:
        token = store.with_name(f"{store.name}.token")
        token.touch()
        environment[VARIABLE] = f"{kill_at}:{token}"
    command = [sys.executable, "-m", "tests.trainer.drive", stage, str(workers), str(store)]
    command += [str(parent.directory) for parent in parents]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=RAY_SECONDS, check=False
    )


def digest_of(done: subprocess.CompletedProcess[str]) -> str:
    found = re.search(r"^digest (\w+)$", done.stdout, re.MULTILINE)
    assert found, done.stderr[-3000:]
    return found[1]


def steps_trained(store: Path) -> list[int]:
    text = (store / "logs" / "stage" / "timings.jsonl").read_text()
    return [int(n) for n in re.findall(r'"event": "step", "step": (\d+)', text)]


def check_killed_driver(inputs: Inputs, base: Artifact, tmp_path: Path, place: str) -> None:
    """A driver that trains in its own process dies at ``place`` and is run again."""
    store = tmp_path / "store"
    parents = [inputs.tokenizer, inputs.tokens]
    killed = drive("pretrain", 1, store, parents, kill_at=place)
    assert killed.returncode == -9, killed.stderr[-2000:]
    assert digest_of(drive("pretrain", 1, store, parents)) == base.manifest.digest


def test_killed_driver_at_a_random_place(inputs: Inputs, base: Artifact, tmp_path: Path):
    place = random.choice(DRIVER_PLACES)
    print("killed at", place)
    check_killed_driver(inputs, base, tmp_path, place)


@pytest.mark.slow
@pytest.mark.parametrize("place", DRIVER_PLACES)
def test_killed_driver(inputs: Inputs, base: Artifact, tmp_path: Path, place: str):
    check_killed_driver(inputs, base, tmp_path, place)


def check_killed_worker(inputs: Inputs, tmp_path: Path, place: str, digest: str) -> None:
    """One of two workers dies at ``place``; Ray starts the group again in the same run."""
    store = tmp_path / "store"
    done = drive("pretrain", 2, store, [inputs.tokenizer, inputs.tokens], kill_at=place)
    assert digest_of(done) == digest
    assert not (tmp_path / "store.token").exists(), "the failpoint was never reached"


def test_killed_worker_at_a_random_place(inputs: Inputs, two_workers: Artifact, tmp_path: Path):
    place = f"trainer.pretrain.{random.choice(PLACES)}"
    print("killed at", place)
    check_killed_worker(inputs, tmp_path, place, two_workers.manifest.digest)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_killed_worker(inputs: Inputs, two_workers: Artifact, tmp_path: Path, place: str):
    check_killed_worker(inputs, tmp_path, f"trainer.pretrain.{place}", two_workers.manifest.digest)


@pytest.mark.slow
def test_killed_driver_with_workers(inputs: Inputs, two_workers: Artifact, tmp_path: Path):
    """The driver dies once the first checkpoint stands; its rerun goes on from there."""
    store = tmp_path / "store"
    parents = [inputs.tokenizer, inputs.tokens]
    kill_after_a_checkpoint(2, store, parents)
    assert digest_of(drive("pretrain", 2, store, parents)) == two_workers.manifest.digest
    assert steps_trained(store).count(1) == 1, "it trained from the start again"


def kill_after_a_checkpoint(workers: int, store: Path, parents: list[Artifact]) -> None:
    """Start a driver and kill it once a checkpoint by so many workers stands."""
    command = [sys.executable, "-m", "tests.trainer.drive", "pretrain", str(workers), str(store)]
    driver = subprocess.Popen(
        [*command, *(str(p.directory) for p in parents)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while workers not in saved_by(store):
        assert driver.poll() is None, "the driver ended before a checkpoint"
        time.sleep(0.02)
    driver.kill()
    driver.wait()


def saved_by(store: Path) -> set[int]:
    """How many workers wrote the checkpoints that stand."""
    found = set()
    for path in store.glob("checkpoint/*/work/state/step-*.json"):
        with contextlib.suppress(OSError):  # pruned meanwhile
            found.add(json.loads(path.read_text())["world_sizes"][-1][1])
    return found


def metrics(artifact: Artifact) -> list[dict]:
    return [json.loads(line) for line in artifact.path("metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_killed_and_run_again_with_three_workers_and_again_with_two(
    inputs: Inputs, ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The number of workers is no part of what is asked: the same run goes on."""
    monkeypatch.setenv("INKSTONE_TEST_STEPS", "60")
    monkeypatch.setenv("INKSTONE_TEST_PRECISION", "fp32")
    undisturbed = run_pretrain(
        inputs, tmp_path / "undisturbed", workers=2, steps=60, precision="fp32"
    )
    store = tmp_path / "store"
    parents = [inputs.tokenizer, inputs.tokens]
    kill_after_a_checkpoint(2, store, parents)
    kill_after_a_checkpoint(3, store, parents)
    assert digest_of(drive("pretrain", 2, store, parents))
    (made,) = (Artifact.open(path.parent) for path in store.glob("checkpoint/*/manifest.json"))
    for line, other in zip(metrics(made), metrics(undisturbed), strict=True):
        assert line["samples"] == other["samples"]
        if "loss" in line:
            assert line["data"] == other["data"], "other samples, or in another order"
            assert line["loss"] == pytest.approx(other["loss"], abs=1e-3)
    sizes = [ranks for _, ranks in json.loads(made.path("trainer.json").read_text())["world_sizes"]]
    assert sizes == [2, 3, 2]


TUNING_PLACES = [*(f"trainer.sft.{place}" for place in PLACES), "unit.render.before_publish"]


def check_killed_tuning(inputs: Inputs, base: Artifact, tmp_path: Path, place: str) -> None:
    """With replay: its order, too, follows from the sample number alone."""
    parents = [base, inputs.conversations, inputs.tokens]
    undisturbed = run_sft(
        base, inputs.conversations, tmp_path / "undisturbed", workers=1, replay=inputs.tokens
    )
    store = tmp_path / "store"
    assert drive("sft", 1, store, parents, kill_at=place).returncode == -9
    assert digest_of(drive("sft", 1, store, parents)) == undisturbed.manifest.digest


def test_killed_tuning_at_a_random_place(inputs: Inputs, base: Artifact, tmp_path: Path):
    place = random.choice(TUNING_PLACES)
    print("killed at", place)
    check_killed_tuning(inputs, base, tmp_path, place)


@pytest.mark.slow
@pytest.mark.parametrize("place", TUNING_PLACES)
def test_killed_tuning(inputs: Inputs, base: Artifact, tmp_path: Path, place: str):
    check_killed_tuning(inputs, base, tmp_path, place)
