"""Killed anywhere and run again, the stage gives the bytes of an undisturbed run."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from clusters.artifact import Artifact
from clusters.execute import run_stage
from clusters.failpoints import VARIABLE
from clusters.registry import resolve
from evaluation.database import open_database, rows_of
from evaluation.run import RunConfig

CONFIG = {"limit": 12, "block_size": 5}
DRIVER = ["evaluation.run.before_insert", "evaluation.run.after_insert", "artifact.before_commit"]
WORKER = ["unit.score.before_publish", "unit.score.after_publish"]
DRAWN = random.choice(DRIVER + WORKER)


def run_and_kill(
    failpoint: str, inputs: dict[str, list[Artifact]], store: Path
) -> "subprocess.CompletedProcess[str]":
    """Run the stage in a child that dies at the failpoint, or has a worker that does."""
    token = store / "token"
    token.touch()
    directories = {role: [str(a.directory) for a in given] for role, given in inputs.items()}
    command = [
        sys.executable, "-m", "tests.evaluation.child", "evaluation.run",
        json.dumps(CONFIG), json.dumps(directories), str(store),
    ]  # fmt: skip
    environment = {**os.environ, VARIABLE: f"{failpoint}:{token}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert not token.exists(), f"{failpoint} was never reached: {done.stderr[-2000:]}"
    return done


def check(
    failpoint: str, inputs: dict[str, list[Artifact]], scores: Artifact, tmp_path: Path
) -> None:
    done = run_and_kill(failpoint, inputs, tmp_path)
    if failpoint in DRIVER:
        assert done.returncode == -9
        # One worker now, two before: their number must not matter either.
        config = RunConfig(**CONFIG, workers=1)
        again = run_stage(resolve("evaluation.run"), config, inputs, store=tmp_path, name="scores")
        digest = again.manifest.digest
    else:
        assert done.returncode == 0, done.stderr[-2000:]
        digest = done.stdout.split()[-1]
    assert digest == scores.manifest.digest
    with open_database(f"sqlite:///{tmp_path}/scores.db", create=False) as engine:
        rows = rows_of(engine, scores.directory.name)
    assert len(rows) == scores.manifest.stats["out"]["scores"]


def test_killed_at_a_place_drawn_by_chance(
    run_inputs: dict[str, list[Artifact]], scores: Artifact, tmp_path: Path
) -> None:
    print(f"failpoint {DRAWN}")
    check(DRAWN, run_inputs, scores, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", DRIVER + WORKER)
def test_killed_everywhere(
    failpoint: str, run_inputs: dict[str, list[Artifact]], scores: Artifact, tmp_path: Path
) -> None:
    check(failpoint, run_inputs, scores, tmp_path)


def test_training_documents_are_refused(
    run_inputs: dict[str, list[Artifact]], store: Path, tmp_path: Path
) -> None:
    from clusters.artifact import ArtifactError
    from tests.evaluation import makers

    rows = makers.make_questions(8, seed=4, first_uid=0)
    leaked = makers.make_artifact(
        store,
        "questions",
        "corpus.questions",
        lambda out: makers.write_questions(out, rows),
        salt="leaked",
    )
    inputs = {**run_inputs, "questions": [leaked]}
    with pytest.raises(ArtifactError, match="docs_choice: 32 of 32 samples are made from training"):
        run_stage(resolve("evaluation.run"), RunConfig(), inputs, store=tmp_path)
