"""Killing the tokens stage anywhere changes nothing: driver and workers, kill -9."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.artifact import Artifact
from clusters.execute import run_stage
from clusters.failpoints import VARIABLE
from corpus.stages import STAGES
from corpus.tokenizer import TokenizerConfig
from corpus.tokens import TokensConfig

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
DRIVER = """
import sys
from pathlib import Path
from clusters.artifact import Artifact
from clusters.connect import ClusterConfig, connect
from clusters.execute import run_stage
from clusters.registry import resolve
from corpus.tokens import TokensConfig
corpus, tokenizer, store = sys.argv[1:]
inputs = {"corpus": [Artifact.open(corpus)], "tokenizer": [Artifact.open(tokenizer)]}
with connect("embedded", ClusterConfig(num_cpus=2, object_store_bytes=100 << 20)):
    run_stage(resolve("corpus.tokens"), TokensConfig(shards=3), inputs, store=Path(store))
"""


def drive(corpus: Artifact, tokenizer: Artifact, store: Path, armed: str = "") -> int:
    """Run the stage in a process with a Ray of its own; its exit status."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, corpus.directory, tokenizer.directory, store],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), VARIABLE: armed},
        capture_output=True,
        timeout=240,
    )
    return done.returncode


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
    token = tmp_path / "token"
    token.touch()
    killed = drive(corpus, tokenizer, tmp_path / "killed", f"{failpoint}:{token}")
    assert not token.exists(), "the failpoint was never reached"
    assert (killed == 0) == (FAILPOINTS[failpoint] == "worker")
    if killed != 0:
        assert drive(corpus, tokenizer, tmp_path / "killed") == 0
    (made,) = (tmp_path / "killed" / "tokens").iterdir()
    artifact = Artifact.open(made, "tokens")
    assert artifact.verify() == []
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
