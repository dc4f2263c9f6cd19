"""Killing the tokens stage anywhere changes nothing: driver and workers, kill -9."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.artifact import Artifact
from clusters.execute import run_stage
from corpus.stages import STAGES
from corpus.tokenizer import TokenizerConfig
from corpus.tokens import TokensConfig
from tests.corpus.kills import run_killed

BY_NAME = {stage.name: stage for stage in STAGES}
FAILPOINTS = {
    "corpus.tokens.inside_group": "worker",
    "unit.tokenise.before_publish": "worker",
    "unit.tokenise.after_publish": "worker",
    "corpus.tokens.tokenise": "driver",
    "corpus.tokens.before_stores": "driver",
    "artifact.before_commit": "driver",
    "artifact.after_commit": "driver",
}


def check_kill(make_corpus: Callable[..., Artifact], tmp_path: Path, failpoint: str) -> None:
    rng = random.Random()
    rows = [
        {"id": str(i), "source": rng.choice("ab"), "text": str(rng.getrandbits(3000))}
        for i in range(60)
    ]
    corpus = make_corpus([{**row, "split": "validation"} for row in rows[:6]] + rows[6:], parts=5)
    config = TokenizerConfig(vocab_size=300)
    inputs = {"corpus": [corpus]}
    tokenizer = run_stage(BY_NAME["corpus.tokenizer"], config, inputs, store=tmp_path)
    artifact = run_killed(
        "corpus.tokens",
        TokensConfig(shards=3),
        {"corpus": corpus, "tokenizer": tokenizer},
        tmp_path / "killed",
        failpoint,
        FAILPOINTS[failpoint],
    )
    undisturbed = run_stage(
        BY_NAME["corpus.tokens"],
        TokensConfig(shards=3),
        {**inputs, "tokenizer": [tokenizer]},
        store=tmp_path / "undisturbed",
    )
    assert artifact.manifest.digest == undisturbed.manifest.digest


@pytest.mark.usefixtures("ray_session")
def test_one_kill(make_corpus: Callable[..., Artifact], tmp_path: Path) -> None:
    check_kill(make_corpus, tmp_path, random.choice(sorted(FAILPOINTS)))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_every_kill(make_corpus: Callable[..., Artifact], tmp_path: Path, failpoint: str) -> None:
    check_kill(make_corpus, tmp_path, failpoint)
