"""Reading one shard: every step from the record to the candidate, without Ray."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clusters.units import UnitRecord, Units
from corpus.config import BuildConfig
from corpus.decontaminate.index import build_index
from corpus.decontaminate.index_file import save_index
from corpus.report.samples import SAMPLES_NAME, read_samples
from corpus.sources.plan import plan_shards
from corpus.steps import read
from corpus.workspace import CANDIDATES_NAME
from tests.corpus.builder import sentences

QUESTION = (
    "If a train leaves the old station at nine and travels forty miles in every hour, how many "
    "miles has it travelled when the clock of the town hall strikes noon?"
)


class Shard:
    """What reading left of one JSONL shard."""

    def __init__(self, units: Units, record: UnitRecord) -> None:
        def table(name: str) -> pa.Table:
            return pq.read_table(units.resolve(record.scratch[name]))

        self.kept = {row["id"]: row for row in table(CANDIDATES_NAME).to_pylist()}
        self.rejected = {row["id"]: row for row in table(read.REJECTED_NAME).to_pylist()}
        self.samples = read_samples(units.resolve(record.scratch[SAMPLES_NAME]))
        self.stats = record.stats


def shard(folder: Path, records: list[dict[str, Any]], **config: Any) -> Shard:
    source = folder / "records.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    made = BuildConfig.model_validate(
        {
            "sources": [{"path": str(source), "format": "jsonl", "source": "made"}],
            "rules": {"gopher_repetition": {"enabled": False}},
            "language": {"keep": {"en": 0.01}},
            **config,
        }
    )
    index = None
    if made.decontaminate.benchmarks:
        index = folder / "index"
        save_index(build_index(made.decontaminate), index)
    units = Units(folder / "work")
    with units.start("read/0") as unit:
        read.read(unit, plan_shards(made)[0], made, seed=1, index=index)
    record = units.record("read/0")
    assert record is not None
    return Shard(units, record)


def text(extra: str = "") -> str:
    return "\n".join([*sentences(random.Random(), 10), extra])


def test_personal_data_is_masked_and_counted(tmp_path: Path) -> None:
    found = shard(tmp_path, [{"id": "a", "text": text("Write to ann@example.org or 8.8.4.4.")}])
    row = found.kept["a"]
    assert row["text"].endswith("Write to <EMAIL> or <IP>.")
    assert dict(row["pii"]) == {"EMAIL": 1, "IP": 1}
    assert row["bytes"] == len(row["text"].encode())


def test_a_document_that_holds_a_question_of_an_evaluation_set_goes(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"question": QUESTION, "answer": "120"}) + "\n")
    sets = {"benchmarks": [{"name": "sums", "path": str(questions), "fields": ["question"]}]}
    records = [{"id": "clean", "text": text()}, {"id": "leak", "text": text(QUESTION.upper())}]
    found = shard(tmp_path, records, decontaminate=sets)
    assert list(found.kept) == ["clean"]
    assert found.rejected["leak"]["stage"] == "decontaminate"
    assert found.rejected["leak"]["reason"].startswith("sums: questions.jsonl:1: if a train leaves")
    assert found.stats["contamination"]["documents"] == [["sums", 1]]
    (tmp_path / "again").mkdir()
    sets["action"] = "report"
    assert list(shard(tmp_path / "again", records, decontaminate=sets).kept) == ["clean", "leak"]


def test_lists_reject_by_host_and_give_columns(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("bad.example\n")
    (tmp_path / "words").write_text("# mild ones\nblithering\n")
    safety = {
        "domains": [{"name": "blocked", "path": str(tmp_path / "hosts")}],
        "words": [{"name": "mild", "path": str(tmp_path / "words")}],
    }
    records = [
        {"id": "good", "text": text("A blithering day."), "url": "https://good.example/a"},
        {"id": "bad", "text": text(), "url": "https://www.bad.example/b"},
    ]
    found = shard(tmp_path, records, safety=safety)
    assert found.rejected["bad"]["reason"] == "domain.blocked"
    assert 0 < found.kept["good"]["mild_words"] < 0.1
    safety["words"][0]["languages"] = ["fr"]
    (tmp_path / "again").mkdir()
    again = shard(tmp_path / "again", records, safety=safety)
    assert again.kept["good"]["mild_words"] is None


def test_line_rules_edit_the_text_before_it_is_judged(tmp_path: Path) -> None:
    rules = {"gopher_repetition": {"enabled": False}, "c4": {"enabled": True}}
    found = shard(tmp_path, [{"id": "a", "text": text("Home | About | Contact")}], rules=rules)
    assert "About" not in found.kept["a"]["text"]
    assert sum(found.stats["dropped_lines"].values()) == 1


def test_every_reject_has_a_sample_and_a_count(tmp_path: Path) -> None:
    records = [{"id": "short", "text": "Too short to be read."}, {"id": "fine", "text": text()}]
    found = shard(tmp_path, records)
    (sample,) = found.samples
    assert (sample.step, sample.text) == ("rules", "Too short to be read.")
    rejected = [row for row in found.stats["tally"] if row[0] == "rules" and row[1]]
    assert [(row[1], row[4]) for row in rejected] == [(sample.reason, 1)]


def test_unpaired_surrogates_in_any_field_are_survived(tmp_path: Path) -> None:
    odd = "a\ud800b"
    records = [
        {"id": odd, "text": text(), "url": f"http://a/{odd}", "title": odd, "date": odd},
        {"id": "short", "text": "Too short.", "url": f"http://b/{odd}"},
    ]
    found = shard(
        tmp_path,
        records,
        sources=[
            {"path": str(tmp_path / "records.jsonl"), "format": "jsonl", "source": "made",
             "title_field": "title", "date_field": "date"}
        ],
    )  # fmt: skip
    (row,) = found.kept.values()
    assert (row["id"], row["url"], row["title"]) == ("a?b", "http://a/a?b", "a?b")
    assert found.rejected["short"]["url"] == "http://b/a?b"
