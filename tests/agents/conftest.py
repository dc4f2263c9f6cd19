"""A checkpoint artifact around a tiny random model, for rollouts."""

from pathlib import Path

import pytest

from clusters.artifact import Artifact
from clusters.config import StageConfig
from clusters.execute import run_stage
from clusters.stage import Stage, StageContext
from tests.agents.rollout_driver import roll_out
from tests.serving.conftest import make_model


def _write_model(context: StageContext) -> dict[str, int]:
    make_model(context.out.path("model/config.json").parent, seed=context.seed)
    return {}


RANDOM_MODEL = Stage("trainer.random", StageConfig, "checkpoint", _write_model, needs_ray=False)


def random_checkpoint(store: Path, seed: int) -> Artifact:
    """A checkpoint of random weights: it writes nonsense, the same every time."""
    return run_stage(RANDOM_MODEL, StageConfig(), store=store, seed=seed)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return random_checkpoint(tmp_path_factory.mktemp("checkpoint"), seed=0)


@pytest.fixture(scope="session")
def played(
    ray_session: None, checkpoint: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    """An undisturbed rollout of it."""
    return roll_out(checkpoint, tmp_path_factory.mktemp("rollout"))
