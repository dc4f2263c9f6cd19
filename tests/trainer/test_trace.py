"""From a step back to its documents, and mixtures that change in mid-run."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from clusters.artifact import Artifact
from clusters.config import ConfigError
from clusters.execute import run_stage
from clusters.stage import Input, Stage, StageContext
from contracts.documents import document_uid
from corpus.token_store import TokenStore
from tests.corpus.conftest import GIVEN, GivenConfig
from tests.trainer.inputs import Inputs, NoConfig, run_pretrain, sentences, write_store
from trainer.cli import app
from trainer.trace import trace
from trainer.workers import TrainingFailed


@pytest.fixture(scope="module")
def mixed(inputs: Inputs) -> Artifact:
    """Docs for the first twenty samples, then docstrings; some samples left out."""
    mixture = [
        {"from_sample": 0, "weights": {"docs": 1}},
        {"from_sample": 20, "weights": {"docstrings": 1}},
    ]
    store = inputs.tokens.directory.parent.parent
    return run_pretrain(inputs, store, workers=1, data={"mixture": mixture}, skip_samples=[[7, 4]])


def test_a_step_is_traced_to_its_documents(inputs: Inputs, mixed: Artifact):
    found = trace(mixed.directory, 2)
    assert found.proved
    assert found.samples == [5, 6, 11, 12, 13]
    store = TokenStore.open(inputs.tokens.path("tokens") / "train")
    uids = set(np.concatenate(store._uids).tolist())
    assert {document.uid for document in found.documents} <= uids
    assert {document.domain for document in found.documents} == {"docs"}
    assert sum(document.tokens for document in found.documents) == 5 * 48


def test_the_mixture_changes_at_its_sample(mixed: Artifact):
    domains = [{d.domain for d in trace(mixed.directory, step).documents} for step in range(1, 9)]
    assert domains == [{"docs"}] * 3 + [{"docs", "docstrings"}] + [{"docstrings"}] * 4


@pytest.fixture(scope="module")
def from_corpus(inputs: Inputs) -> tuple[list[dict], Artifact]:
    """Documents of a corpus, and a run on them; half their uids do not fit int64."""
    documents = [
        {"id": f"d/{i}", "source": "docs", "text": text, "url": f"https://example.org/{i}"}
        for i, text in enumerate(sentences(8, 60))
    ]
    for document in documents:
        document["uid"] = document_uid(document["source"], document["id"])
    assert max(document["uid"] for document in documents) >= 2**63

    def make_tokens(context: StageContext) -> dict:
        root = context.out.path("tokens/train/store.json").parent
        texts = [(document["uid"], document["text"]) for document in documents]
        write_store(root, inputs.tokenizer, {"docs": texts})
        return {}

    store = inputs.tokens.directory.parent.parent
    config = GivenConfig(documents=documents, rejected=[], ledger=None, parts=3)
    given = {"corpus": [run_stage(GIVEN, config, store=store)]}
    stage = Stage(
        name="trainer.test-corpus-tokens",
        config=NoConfig,
        output="tokens",
        run=make_tokens,
        inputs={"corpus": Input(("corpus",))},
    )
    tokens = run_stage(stage, NoConfig(), given, store=store)
    return documents, run_pretrain(
        Inputs(inputs.tokenizer, tokens, inputs.conversations), store, workers=1
    )


def test_the_corpus_is_asked_about_the_documents(from_corpus: tuple[list[dict], Artifact]):
    documents, made = from_corpus
    urls = {document["uid"]: document["url"] for document in documents}
    found = trace(made.directory, 2)
    assert found.proved
    assert found.corpus is not None
    assert found.corpus["stage"] == GIVEN.name
    assert found.documents
    for document in found.documents:
        assert document.about is not None
        assert document.about["url"] == urls[document.uid]
        assert "text" not in document.about


def test_the_verb(mixed: Artifact):
    arguments = ["trace", str(mixed.directory), "--step", "3"]
    shown = CliRunner().invoke(app, arguments)
    assert "the checksum of its rows agrees" in " ".join(shown.output.split())
    values = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert values["step"] == 3
    assert values["documents"]


def test_steps_of_a_run_that_stopped_are_traced_from_its_logs(inputs: Inputs, tmp_path: Path):
    """The step at which the loss leapt, and the one before."""
    tokens = Artifact.open(inputs.tokens.directory)
    changes = {
        "bad_steps": {"max_rise": 1e-6, "window": 2},
        "optimiser": {"lr": 3.0, "warmup_steps": 0},
        "skip_samples": [[5, 3]],
        "checkpoint_every": 100,
    }
    with pytest.raises(TrainingFailed, match=r"step \d+: .* above the median") as caught:
        run_pretrain(inputs, tmp_path / "store", workers=1, steps=30, **changes)
    step = int(str(caught.value).split("step ")[1].split(":")[0])
    attempt = tmp_path / "runs" / "r" / "logs" / "first"
    attempt.mkdir(parents=True)
    (tmp_path / "store" / "logs" / "stage").rename(attempt / "pretrain")
    stages = {"pretrain": {"stage": "trainer.pretrain", "status": "failed"}}
    (tmp_path / "runs" / "r" / "run.json").write_text(json.dumps({"stages": stages}))
    leapt = trace(tmp_path / "runs" / "r", step)
    before = trace(tmp_path / "runs" / "r" / "pretrain", step - 1)
    assert leapt.proved
    assert before.proved
    assert (leapt.applied, before.applied) == (False, True)
    assert leapt.samples[0] == before.samples[-1] + 1 or before.samples[-1] < 5
    assert len(leapt.samples) == len(before.samples) == 5
    assert {d.domain for d in leapt.documents} <= set(
        TokenStore.open(tokens.path("tokens") / "train").domains
    )
    with pytest.raises(ConfigError, match=rf"not finished; its logs have steps: 1 to {step}$"):
        trace(tmp_path / "runs" / "r", step + 1)


@pytest.fixture(scope="module")
def with_noise(inputs: Inputs) -> Inputs:
    """A store with prose, and with text of characters that prose has not."""

    def make_tokens(context: StageContext) -> dict:
        root = context.out.path("tokens/train/store.json").parent
        noise = "".join(chr(33 + (i * i + 7 * i) % 15) for i in range(4000))
        texts = {"docs": list(enumerate(sentences(5, 300))), "noise": [(7, noise)]}
        write_store(root, inputs.tokenizer, texts)
        return {}

    stage = Stage(name="trainer.test-noise", config=NoConfig, output="tokens", run=make_tokens)
    tokens = run_stage(stage, NoConfig(), store=inputs.tokens.directory.parent.parent)
    return Inputs(inputs.tokenizer, tokens, inputs.conversations)


@pytest.mark.parametrize("action", ["skip", "rewind"])
def test_a_batch_that_was_left_out_is_traced_when_the_run_is_done(with_noise: Inputs, action: str):
    """Two batches of noise in a row, and one more; a rewind forgets none of them."""
    domains = {0: "docs", 50: "noise", 60: "docs", 65: "noise", 70: "docs"}
    mixture = [{"from_sample": k, "weights": {name: 1}} for k, name in domains.items()]
    made = run_pretrain(
        with_noise,
        with_noise.tokens.directory.parent.parent,
        workers=1,
        steps=14,
        checkpoint_every=5,
        validation_every=5,
        data={"mixture": mixture},
        bad_steps={"action": action, "max_rise": 1.0, "window": 2},
        optimiser={"lr": 0.01, "warmup_steps": 2},
    )
    bad = [(11, range(50, 55)), (11, range(55, 60)), (12, range(65, 70))]
    found = [trace(made.directory, step, n) for (step, _), n in zip(bad, (1, 2, 1), strict=True)]
    assert [(f.step, f.samples) for f in found] == [(step, list(run)) for step, run in bad]
    assert {d.domain for f in found for d in f.documents} == {"noise"}
    trained = [trace(made.directory, step) for step in range(1, 15)]
    assert all(f.proved for f in [*found, *trained])
    assert {f.applied for f in found} == {False}
    assert {f.applied for f in trained} == {True}
    assert [f.left_out for f in trained] == [0] * 10 + [2, 1, 0, 0]
    lines = map(json.loads, made.path("metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if "validation" in line] == [0, 5, 10, 14]
    written = with_noise.tokens.directory.parent.parent / "logs" / "stage" / "bad-steps"
    kept = [np.load(path)["samples"].tolist() for path in sorted(written.iterdir())]
    assert kept == [list(run) for _, run in bad], "no batch is written over another"
    seen = sorted(k for f in [*trained, *found] for k in f.samples)
    assert seen == list(range(85)), "each sample once, trained or left out"
    shown = CliRunner().invoke(app, ["trace", str(made.directory), "--step", "11"])
    assert "2 batches were left out at this step" in " ".join(shown.output.split())
    with pytest.raises(ConfigError, match="--left-out 2: 1 batches were left out at step 12"):
        trace(made.directory, 12, 2)


def test_what_cannot_be_traced_says_so(mixed: Artifact, inputs: Inputs, tmp_path: Path):
    with pytest.raises(ConfigError, match="steps 1 to 8"):
        trace(mixed.directory, 9)
    with pytest.raises(ConfigError, match=r"only trainer\.pretrain can be traced"):
        trace(inputs.tokens.directory, 1)
    with pytest.raises(ConfigError, match="no finished checkpoint"):
        trace(tmp_path, 1)


def test_a_mixture_of_unknown_domains_stops_before_anything_starts(inputs: Inputs, tmp_path: Path):
    mixture = [{"from_sample": 0, "weights": {"novels": 1}}]
    with pytest.raises(ConfigError, match=r"data.mixture: .*no domain 'novels'; there are: docs"):
        run_pretrain(inputs, tmp_path, workers=1, data={"mixture": mixture})
