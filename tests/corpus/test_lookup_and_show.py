"""``stats`` and ``why`` over artifacts, by their commands."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clusters.artifact import Artifact, ArtifactError
from clusters.config import StageConfig
from clusters.execute import run_stage
from clusters.stage import Stage
from contracts.documents import document_uid
from corpus.cli import app
from corpus.ledger import PASSED, STEPS, Ledger, Tally, kept
from corpus.stages import STAGES
from corpus.tokenizer import TokenizerConfig
from corpus.tokens import TokensConfig

BY_NAME = {stage.name: stage for stage in STAGES}
MakeCorpus = Callable[..., Artifact]
HUGE_UID = 2**64 - 3


def ledger() -> dict:
    tally = Tally()
    for _ in range(8):
        for step in STEPS:
            tally.add(step, PASSED, "docs", "en", 500_000)
    tally.add("language", "other_language", "docs", "de", 250_000, count=3)
    tally.add("kept", "train", "docs", "en", 4_000_000, count=8)
    whole = Ledger(steps=tally.steps(), kept=kept(tally), bad_records=0, bad_share=0)
    return whole.model_dump()


@pytest.fixture
def corpus(make_corpus: MakeCorpus) -> Artifact:
    documents = [
        {"id": "a/b", "source": "docs", "text": "kept one", "quality": 0.25, "dup_count": 4},
        {"id": "c", "uid": HUGE_UID, "source": "docs", "text": "kept two", "split": "validation"},
        {"id": "twin", "source": "docs", "text": "x"},
        {"id": "twin", "source": "docstrings", "text": "y"},
    ]
    rejected = [
        {"uid": 77, "id": "gone", "stage": "rules", "reason": "gopher.too_short", "score": 3.0}
    ]
    return make_corpus(documents, rejected, ledger())


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_kept_document_by_id_and_by_uid(corpus: Artifact) -> None:
    (by_id,) = json.loads(call("why", "a/b", str(corpus.directory), "--json"))
    uid = document_uid("docs", "a/b")
    assert json.loads(call("why", str(uid), str(corpus.directory), "--json")) == [by_id]
    assert by_id["kept"]
    assert [by_id["uid"], by_id["split"], by_id["dup_count"]] == [uid, "train", 4]
    assert by_id["scores"] == {"lang_score": pytest.approx(0.9), "quality": 0.25}
    assert (corpus.root / by_id["file"]).is_file()
    text = call("why", "a/b", str(corpus.directory))
    assert "kept" in text
    assert str(uid) in text


def test_a_uid_beyond_i64(corpus: Artifact) -> None:
    (fate,) = json.loads(call("why", str(HUGE_UID), str(corpus.directory), "--json"))
    assert [fate["id"], fate["split"]] == ["c", "validation"]


def test_a_rejected_record_with_its_reason(corpus: Artifact) -> None:
    (fate,) = json.loads(call("why", "77", str(corpus.directory), "--json"))
    assert not fate["kept"]
    assert [fate["stage"], fate["reason"], fate["score"]] == ["rules", "gopher.too_short", 3.0]
    assert "gopher.too_short" in call("why", "gone", str(corpus.directory))


def test_by_url_with_what_was_masked_and_the_start_of_the_text(make_corpus: MakeCorpus) -> None:
    url = "https://example.org/a?b=1"
    corpus = make_corpus(
        [
            {
                "id": "a",
                "url": url,
                "source": "web",
                "text": "x" * 999,
                "title": "A title",
                "pii": {"email": 2, "phone": 1},
            }
        ],
        [{"uid": 5, "id": "b", "url": url, "stage": "rules", "reason": "c4.curly", "score": None}],
        ledger(),
        parts=1,
    )
    kept, rejected = json.loads(call("why", url, str(corpus.directory), "--json"))
    assert kept["masked"] == {"email": 2, "phone": 1}
    assert (kept["title"], kept["excerpt"]) == ("A title", "x" * 300)
    assert kept["passed"] == list(STEPS)
    assert rejected["passed"] == list(STEPS[: STEPS.index("rules")])
    assert "2 x email" in call("why", url, str(corpus.directory))


def test_a_cluster_and_its_survivor(make_corpus: MakeCorpus) -> None:
    same = {"stage": "dedup", "reason": "near_duplicate", "cluster": 10}
    corpus = make_corpus(
        [
            {"id": "best", "uid": 12, "cluster": 10, "dup_count": 3, "source": "s", "text": "t"},
            {"id": "alone", "uid": 13, "source": "s", "text": "t"},
        ],
        [{"uid": 10, "id": "copy", **same}, {"uid": 11, "id": "draft", **same}],
    )
    (best,) = json.loads(call("why", "12", str(corpus.directory), "--json"))
    assert [member["uid"] for member in best["members"]] == [10, 11]
    assert best["survivor"] is None
    (copy,) = json.loads(call("why", "copy", str(corpus.directory), "--json"))
    assert (copy["survivor"], [member["id"] for member in copy["members"]]) == (
        12,
        ["best", "draft"],
    )
    assert "best (kept)" in call("why", "copy", str(corpus.directory))
    (alone,) = json.loads(call("why", "13", str(corpus.directory), "--json"))
    assert alone["members"] == []


def test_a_survivor_named_by_the_reject_itself(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(
        [{"id": "best", "uid": 12, "cluster": 10, "dup_count": 2, "source": "s", "text": "t"}],
        [{"uid": 11, "id": "copy", "stage": "dedup", "reason": "near_duplicate", "survivor": 12}],
    )
    (copy,) = json.loads(call("why", "copy", str(corpus.directory), "--json"))
    assert (copy["survivor"], copy["cluster"]) == (12, 10)
    assert [member["id"] for member in copy["members"]] == ["best"]


def test_an_id_of_two_sources_gives_both(corpus: Artifact) -> None:
    fates = json.loads(call("why", "twin", str(corpus.directory), "--json"))
    assert sorted(fate["source"] for fate in fates) == ["docs", "docstrings"]


@pytest.mark.parametrize("key", ["nobody", "123", str(2**70)])
def test_an_unknown_document_is_an_error(corpus: Artifact, key: str) -> None:
    with pytest.raises(ArtifactError, match=f"no kept or rejected document .* '{key}'"):
        call("why", key, str(corpus.directory))


def test_stats_of_a_corpus(corpus: Artifact) -> None:
    assert json.loads(call("stats", str(corpus.directory), "--json")) == ledger()
    text = call("stats", str(corpus.directory))
    for expected in ("Funnel", "language", "27.3 %", "other_language", "4.00 MB", "train"):
        assert expected in text


@pytest.mark.usefixtures("ray_session")
def test_stats_of_tokens(corpus: Artifact, tmp_path: Path) -> None:
    tokenizer = run_stage(
        BY_NAME["corpus.tokenizer"],
        TokenizerConfig(vocab_size=300),
        {"corpus": [corpus]},
        store=tmp_path,
    )
    inputs = {"corpus": [corpus], "tokenizer": [tokenizer]}
    tokens = run_stage(BY_NAME["corpus.tokens"], TokensConfig(), inputs, store=tmp_path)
    value = json.loads(call("stats", str(tokens.directory), "--json"))
    assert value == tokens.manifest.stats["splits"]
    assert [value["train"]["documents"], value["validation"]["documents"]] == [3, 1]
    text = call("stats", str(tokens.directory))
    for expected in (
        "docstrings",
        "validation",
        "bytes per token",
        f"{value['train']['tokens']:,}",
    ):
        assert expected in text


def test_what_cannot_be_read_is_named(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no manifest"):
        call("stats", str(tmp_path))
    damaged = make_corpus([{"id": "a", "source": "s", "text": "t"}], ledger={"steps": 3})
    with pytest.raises(ArtifactError, match=r"ledger.json: not a ledger"):
        call("stats", str(damaged.directory))


def test_stats_of_a_tokenizer(corpus: Artifact, tmp_path: Path) -> None:
    stage = BY_NAME["corpus.tokenizer"]
    made = run_stage(stage, TokenizerConfig(vocab_size=300), {"corpus": [corpus]}, store=tmp_path)
    value = json.loads(call("stats", str(made.directory), "--json"))
    assert value["sample"]["en"]["documents"] == 3
    assert value["languages"]["en"] == value["validation_bytes_per_token"] > 0
    text = call("stats", str(made.directory))
    assert "entries" in text
    assert f"{value['languages']['en']:.2f}" in text


def test_stats_of_a_selection(corpus: Artifact, tmp_path: Path) -> None:
    stage = BY_NAME["corpus.select"]
    made = run_stage(stage, stage.config(), {"corpus": [corpus]}, store=tmp_path)
    value = json.loads(call("stats", str(made.directory), "--json"))
    assert sum(d["train"]["documents"] + d["validation"]["documents"]
               for d in value["domains"].values()) == 4  # fmt: skip
    assert "Mixture" in call("stats", str(made.directory))


def test_stats_of_another_kind_is_an_error(corpus: Artifact, tmp_path: Path) -> None:
    stage = Stage(
        name="corpus.none", config=StageConfig, output="other", run=lambda context: {},
        needs_ray=False,
    )  # fmt: skip
    other = run_stage(stage, StageConfig(), {}, store=tmp_path)
    with pytest.raises(ArtifactError, match="holds 'other'; stats reads corpus, selection, tok"):
        call("stats", str(other.directory))
