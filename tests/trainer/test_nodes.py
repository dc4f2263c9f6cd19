"""Nodes that go and come while a training runs: the same samples, the same curve."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clusters.artifact import Artifact
from tests.trainer.drive_nodes import GENTLE, STEPS
from tests.trainer.inputs import Inputs, run_pretrain

SECONDS = 550


def drive(scene: str, store: Path, inputs: Inputs) -> Artifact:
    command = [sys.executable, "-m", "tests.trainer.drive_nodes", scene, str(store)]
    command += [str(inputs.tokenizer.directory), str(inputs.tokens.directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert re.search(r"^digest \w+$", done.stdout, re.MULTILINE), done.stderr[-4000:]
    (made,) = (Artifact.open(path.parent) for path in store.glob("checkpoint/*/manifest.json"))
    return made


@pytest.fixture(scope="module")
def undisturbed(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    store = tmp_path_factory.mktemp("undisturbed")
    made = run_pretrain(
        inputs,
        store,
        workers=1,
        steps=max(STEPS.values()),
        precision="fp32",
        checkpoint_every=max(STEPS.values()),
        validation_every=max(STEPS.values()),
        optimiser=GENTLE,
    )
    return metrics(made)


def metrics(artifact: Artifact) -> list[dict[str, Any]]:
    lines = artifact.path("metrics.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if "loss" in entry]


def events(store: Path, kind: str) -> list[dict[str, Any]]:
    lines = (store / "logs" / "stage" / "timings.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == kind]


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["preempted", "lost", "grown"])
def test_nodes_that_go_and_come(
    inputs: Inputs, undisturbed: list[dict[str, Any]], tmp_path: Path, scene: str
) -> None:
    store = tmp_path / "store"
    found = metrics(drive(scene, store, inputs))
    wanted = undisturbed[: STEPS[scene]]
    assert [line["data"] for line in found] == [line["data"] for line in wanted]
    for line, other in zip(found, wanted, strict=True):
        assert line["loss"] == pytest.approx(other["loss"], abs=1e-3)
    sizes = [entry["world_size"] for entry in events(store, "started")]
    assert sizes == ([1, 2] if scene == "grown" else [2, 2])
    saved = [entry["step"] for entry in events(store, "saved")]
    resumed = [entry["step"] for entry in events(store, "resumed")]
    if scene == "preempted":  # none was due: the notice made the one that it goes on from
        assert resumed == saved[:1]
        assert 0 < resumed[0] < STEPS[scene]
    assert len(resumed) == 1
