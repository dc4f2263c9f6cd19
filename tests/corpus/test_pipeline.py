import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clusters.artifact import Artifact
from clusters.config import ConfigError
from clusters.execute import run_stage
from contracts.documents import REJECTED, document_uid, documents_schema
from corpus.config import BuildConfig
from corpus.errors import CorpusError
from corpus.ledger import read_ledger
from tests.corpus.builder import BUILD, build, config, sentences, write_source
from tests.corpus.dedup.reference import tokens

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def made(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    """(source folder, its corpus), from fresh random text."""
    folder = tmp_path_factory.mktemp("made") / "source"
    write_source(folder, random.Random())
    return folder, build(folder.parent / "store", folder, workers=2)


def _tables(artifact: Artifact) -> tuple[pa.Table, pa.Table]:
    return tuple(
        pa.concat_tables([pq.read_table(path) for path in artifact.files(f"{name}/")])
        for name in ("documents", "rejected")
    )


def test_every_record_is_kept_or_rejected_with_a_reason(made: tuple[Path, Artifact]) -> None:
    folder, artifact = made
    documents, rejected = _tables(artifact)
    fixed = documents_schema().names
    assert documents.schema.names[: len(fixed)] == fixed
    assert documents.schema.equals(documents_schema(documents.schema.names[len(fixed) :]))
    assert rejected.schema.equals(REJECTED)
    lines = [line for path in folder.iterdir() for line in path.read_text().splitlines()]
    assert len(documents) + len(rejected) == len(lines)
    assert set(zip(*(rejected[c].to_pylist() for c in ("stage",)), strict=True)) >= {
        ("read",), ("language",), ("rules",), ("dedup",), ("identity",),
    }  # fmt: skip
    for uid, source, id_ in zip(
        *(documents[c].to_pylist() for c in ("uid", "source", "id")), strict=True
    ):
        assert uid == document_uid(source, id_)
    assert len(set(documents["uid"].to_pylist())) == len(documents)


def test_no_content_is_kept_twice_and_clusters_do_not_cross_splits(
    made: tuple[Path, Artifact],
) -> None:
    documents, rejected = _tables(made[1])
    hashes = [tuple(tokens(text, alone=False)) for text in documents["text"].to_pylist()]
    assert len(set(hashes)) == len(hashes)
    clusters = documents["cluster"].to_pylist()
    assert len(set(clusters)) == len(clusters)
    dropped = [s for s in rejected["stage"].to_pylist() if s == "dedup"]
    extra = sum(count - 1 for count in documents["dup_count"].to_pylist())
    assert extra == len(dropped)
    assert set(documents["split"].to_pylist()) == {"train", "validation"}


def test_the_ledger_agrees_with_the_tables(made: tuple[Path, Artifact]) -> None:
    artifact = made[1]
    documents, rejected = _tables(artifact)
    ledger = read_ledger(artifact.path("ledger.json"))
    assert ledger.kept.total.documents == len(documents)
    assert ledger.kept.total.bytes == sum(len(t.encode()) for t in documents["text"].to_pylist())
    assert ledger.steps[0].entered.documents == len(documents) + len(rejected)
    by_step = {step.name: sum(a.documents for a in step.rejected.values()) for step in ledger.steps}
    for name, count in by_step.items():
        assert count == rejected["stage"].to_pylist().count(name)
    assert ledger.bad_records == by_step["read"] == 8
    assert ledger.split is not None
    held_out = ledger.kept.splits["validation"]
    assert ledger.split.validation_documents == held_out.documents
    assert ledger.split.validation_bytes == held_out.bytes
    (quality,) = ledger.classifiers
    assert quality.skipped is None
    # So few examples may leave a class without a held-out one.
    assert (quality.heldout_auc is None) == (
        not quality.heldout_positives or not quality.heldout_negatives
    )
    assert quality.heldout_auc is None or quality.heldout_auc > 0.9
    assert None not in documents["quality"].to_pylist()


def test_one_worker_gives_the_same_digest(made: tuple[Path, Artifact], tmp_path: Path) -> None:
    folder, artifact = made
    again = build(tmp_path / "store", folder, workers=1)
    assert again.manifest.digest == artifact.manifest.digest
    assert again.manifest.fingerprint == artifact.manifest.fingerprint


def test_partitions_do_not_change_what_is_kept(made: tuple[Path, Artifact], tmp_path: Path) -> None:
    folder, artifact = made
    again = build(tmp_path / "store", folder, workers=2, dedup={"partitions": 5})
    for one, other in zip(_tables(artifact), _tables(again), strict=True):
        assert one.equals(other)
    ledgers = [read_ledger(a.path("ledger.json")) for a in (artifact, again)]
    assert ledgers[0] == ledgers[1]


def test_an_earlier_corpus_takes_what_it_holds(made: tuple[Path, Artifact], tmp_path: Path) -> None:
    artifact = made[1]
    new = tmp_path / "new"
    new.mkdir()
    fresh = "\n".join(sentences(random.Random(), 12))
    kept = _tables(artifact)[0].slice(0, 5)
    old = [row["text"] + "\nAnother line." for row in kept.to_pylist() if len(row["text"]) > 400]
    rows = [{"id": f"new-{i}", "text": text} for i, text in enumerate([fresh, *old])]
    (new / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for partitions in (1, 3):
        settings = config(new, dedup={"partitions": partitions}, split={})
        store = tmp_path / str(partitions)
        later = run_stage(BUILD, settings, {"earlier": [artifact]}, store=store, seed=3)
        documents, rejected = _tables(later)
        assert documents["text"].to_pylist() == [fresh]
        assert set(rejected["stage"].to_pylist()) == {"dedup"}
        uids = set(kept["uid"].to_pylist())
        for reason in rejected["reason"].to_pylist():
            name, uid = reason.split(": ")
            assert name == "seen_earlier"
            assert int(uid) in uids
    settings = config(new, dedup={"ngram": 3})
    with pytest.raises(CorpusError, match="use the same dedup settings"):
        run_stage(BUILD, settings, {"earlier": [artifact]}, store=tmp_path / "other", seed=3)


def test_lines_that_stand_everywhere_are_dropped_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    rng = random.Random()
    menu = "Home, products, contact, and the imprint of this page"
    for shard in range(3):
        texts = [
            "\n".join([menu, *sentences(rng, 9), "All rights are with the author."])
            for _ in range(6)
        ]
        texts.append("\n".join([menu, *["All rights are with the author."] * 12, "the end of it"]))
        lines = [json.dumps({"id": f"{shard}-{i}", "text": t}) for i, t in enumerate(texts)]
        (folder / f"{shard}.jsonl").write_text("\n".join(lines))
    digests = set()
    for workers in (1, 2):
        artifact = build(
            tmp_path / str(workers), folder, workers=workers,
            lines={"enabled": True}
        )  # fmt: skip
        digests.add(artifact.manifest.digest)
    assert len(digests) == 1
    documents, rejected = _tables(artifact)
    assert len(documents) > 0
    assert not any(menu in text or "rights" in text for text in documents["text"].to_pylist())
    ledger = read_ledger(artifact.path("ledger.json"))
    step = next(step for step in ledger.steps if step.name == "lines")
    assert step.passed.documents >= len(documents)
    lost = rejected["stage"].to_pylist().count("lines")
    assert sum(amount.documents for amount in step.rejected.values()) == lost


def test_too_many_bad_records_stop_the_stage(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    write_source(folder, random.Random(), shards=1, each=10)
    with pytest.raises(CorpusError, match=r"2 of 13 records.*max_bad_share 0\.1"):
        build(tmp_path / "store", folder, max_bad_share=0.1)


def test_an_empty_corpus_says_where_the_records_went(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "empty.jsonl").write_text("")
    with pytest.raises(CorpusError, match="no record was found"):
        build(tmp_path / "store", folder)
    (folder / "short.jsonl").write_text(json.dumps({"text": "A few English words."}))
    with pytest.raises(CorpusError, match="too_few_words: 1"):
        build(tmp_path / "store", folder, language={"keep": {"en": 0}})


def test_a_missing_file_stops_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^sources\.0\.path: no jsonl file at"):
        build(tmp_path / "store", tmp_path / "nowhere")
    assert not (tmp_path / "store").exists()


def test_too_little_text_for_a_classifier_is_said_in_the_ledger(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    rows = [{"text": "\n".join(sentences(random.Random(), 9))} for _ in range(5)]
    (folder / "few.jsonl").write_text("\n".join(map(json.dumps, rows)))
    artifact = build(tmp_path / "store", folder)
    ledger = read_ledger(artifact.path("ledger.json"))
    assert ledger.classifiers[0].skipped is not None
    documents, _ = _tables(artifact)
    assert documents["quality"].to_pylist() == [None] * len(documents)
    assert len(documents) >= 1


@pytest.mark.slow
def test_the_installed_documentation_gives_at_least_ten_megabytes(tmp_path: Path) -> None:
    config = BuildConfig.model_validate({"sources": ["python-docs"]})
    artifact = run_stage(BUILD, config, store=tmp_path)
    ledger = read_ledger(artifact.path("ledger.json"))
    assert ledger.kept.total.bytes >= 10_000_000
    assert set(ledger.kept.sources) == {"docs", "docstrings"}
    assert ledger.classifiers[0].heldout_auc is not None
    assert ledger.classifiers[0].heldout_auc > 0.9
