"""The whole chain, small: undisturbed, and killed in every stage."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clusters import runs
from clusters.failpoints import VARIABLE
from clusters.show import verify

RECIPE = Path(__file__).parent / "recipes" / "tiny.yaml"
# Where the driver dies, in the order of the stages. Kills of workers, replicas and the
# endpoint are tested room by room.
KILLS = [
    "corpus.build.clusters",
    "artifact.before_commit",
    "corpus.tokens.before_stores",
    "artifact.after_commit",
    "unit.render.before_publish",
    "trainer.sft.in_save",
    "serving.quantize.before_config",
    "evaluation.run.before_insert",
    "agents.rollout.episode_done",
    "evaluation.report.before_write",
]


def run_tiny(folder: Path, failpoint: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inkstone", "run", str(RECIPE)]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    if failpoint:
        token = folder.parent / "token"
        token.touch()
        environment[VARIABLE] = f"{failpoint}:{token}"
    folder.mkdir(exist_ok=True)
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder)


def digests(folder: Path) -> dict[str, str | None]:
    record = runs.load(folder / "runs" / "tiny")
    return {name: stage.digest for name, stage in record.stages.items()}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_chain_killed_in_every_stage_gives_the_same_bytes(tmp_path: Path) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    done = run_tiny(calm)
    assert done.returncode == 0, done.stderr
    for place in KILLS:
        done = run_tiny(killed, place)
        assert done.returncode == -signal.SIGKILL, f"{place}: {done.stderr}"
    done = run_tiny(killed)
    assert done.returncode == 0, done.stderr
    assert len(digests(calm)) == 12
    assert digests(killed) == digests(calm)
    assert verify(killed / "runs" / "tiny") == []
    record = runs.load(calm / "runs" / "tiny")
    assert [name for name, stage in record.stages.items() if not stage.outputs] == []
