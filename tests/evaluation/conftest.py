"""Small real artifacts, made once for all tests of this room."""

from pathlib import Path

import pytest

from clusters.artifact import Artifact, ArtifactWriter
from tests.evaluation import makers


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def checkpoints(store: Path) -> list[Artifact]:
    """A base and a tuned model, random both."""

    def write(out: ArtifactWriter, seed: int) -> None:
        makers.save_model(out.path("model/config.json").parent, seed)
        makers.write_metrics(out, 7.4 - seed, 4.0 - seed)

    base = makers.make_artifact(store, "checkpoint", "trainer.pretrain", lambda o: write(o, 1))
    parents = [base.parent("base")]
    tuned = makers.make_artifact(
        store, "checkpoint", "trainer.sft", lambda o: write(o, 2), parents=parents
    )
    return [base, tuned]


@pytest.fixture(scope="session")
def model_dir(checkpoints: list[Artifact]) -> Path:
    return checkpoints[1].path("model")


@pytest.fixture(scope="session")
def corpus(store: Path) -> Artifact:
    return makers.make_artifact(store, "corpus", "corpus.build", makers.write_corpus)


@pytest.fixture(scope="session")
def tokens(store: Path, corpus: Artifact, model_dir: Path) -> Artifact:
    return makers.make_artifact(
        store,
        "tokens",
        "corpus.tokens",
        lambda out: makers.write_tokens(out, model_dir),
        parents=[corpus.parent("corpus")],
    )


@pytest.fixture(scope="session")
def questions(store: Path) -> Artifact:
    rows = makers.make_questions(40, seed=3)
    return makers.make_artifact(
        store, "questions", "corpus.questions", lambda out: makers.write_questions(out, rows)
    )


@pytest.fixture(scope="session")
def quantized(store: Path, checkpoints: list[Artifact]) -> Artifact:
    """The tuned model in 4 bits, by the serving room's own stage."""
    from clusters.execute import run_stage
    from clusters.registry import resolve

    stage = resolve("serving.quantize")
    return run_stage(stage, stage.config(), {"model": [checkpoints[1]]}, store=store)


@pytest.fixture(scope="session")
def trajectories(store: Path) -> Artifact:
    return makers.make_artifact(store, "trajectories", "agents.rollout", makers.write_trajectories)


@pytest.fixture(scope="session")
def run_inputs(
    checkpoints: list[Artifact], quantized: Artifact, tokens: Artifact, questions: Artifact
) -> dict[str, list[Artifact]]:
    """Inputs of ``evaluation.run``."""
    base, tuned = checkpoints
    models = [tuned, quantized]
    return {"models": models, "base": [base], "tokens": [tokens], "questions": [questions]}


@pytest.fixture(scope="session")
def scores(store: Path, run_inputs: dict[str, list[Artifact]], ray_session: None) -> Artifact:
    """What ``evaluation.run`` makes of them, on the session's Ray."""
    from clusters.execute import run_stage
    from clusters.registry import resolve
    from evaluation.run import RunConfig

    config = RunConfig(limit=12, block_size=5)
    return run_stage(resolve("evaluation.run"), config, run_inputs, store=store, name="scores")
