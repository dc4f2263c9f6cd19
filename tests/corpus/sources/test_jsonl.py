import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from clusters.config import ConfigError
from corpus.config import BuildConfig, FilesSource
from corpus.sources.jsonl import read_rows
from corpus.sources.keys import ContentKeys
from corpus.sources.plan import plan_shards, read_shard
from corpus.sources.record import BadRecord, Record
from tests.corpus.sources.conftest import source_of


def _config(path: Path, **more: Any) -> BuildConfig:
    return BuildConfig.model_validate({"sources": [source_of(path, "jsonl", **more)]})


def _read(path: Path, **more: Any) -> list[Record | BadRecord]:
    config = _config(path, **more)
    return [record for shard in plan_shards(config) for record in read_shard(config, shard)]


def test_mapped_fields_come_along(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    row = {"text": "t", "headline": "Title", "day": 2021, "license": "CC0", "url": ""}
    path.write_text(json.dumps(row))
    (record,) = _read(path, title_field="headline", date_field="day")
    assert isinstance(record, Record)
    assert (record.title, record.date, record.licence, record.url) == ("Title", "2021", "CC0", None)


def test_parts_of_a_large_file_hold_the_records_of_the_whole(tmp_path: Path) -> None:
    rng = random.Random()
    path = tmp_path / "big.jsonl"
    lines = [json.dumps({"id": i, "text": "x" * rng.choice([1, 50, 3000])}) for i in range(300)]
    lines[rng.randrange(300)] = "{broken"
    path.write_text("\n".join(lines) + rng.choice(["", "\n"]))
    whole = _read(path)
    for size in (700, 5000, 40_000):
        config = _config(path, shard_bytes=size)
        shards = plan_shards(config)
        assert len(shards) == -(-path.stat().st_size // size)
        assert sum(shard.bytes for shard in shards) == path.stat().st_size
        parts = [r for shard in shards for r in read_shard(config, shard)]
        assert [r.key for r in parts] == [r.key for r in whole]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_line_of_100_mb_is_skipped_with_its_size(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.jsonl{ending}"
    long = b'{"text": "' + b"y" * (100 << 20) + b'"}\n'
    raw = b'{"id": "a", "text": "one"}\n' + long + b'{"id": "b", "text": "two"}\n'
    path.write_bytes(gzip.compress(raw, 1) if ending else raw)
    first, bad, last = _read(path)
    assert [r.id for r in (first, last)] == ["a", "b"]
    assert isinstance(bad, BadRecord)
    assert bad.id == f"x.jsonl{ending}:2"
    assert bad.reason.startswith(f"too_long: a line of {len(long) - 1} bytes; max_record_bytes")


def test_odd_but_valid_json_is_read(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    lines = [
        b'\xef\xbb\xbf{"id": "mark", "text": "a byte order mark"}',
        b'{"id": "nan", "text": "t", "score": NaN}',
        b'{"id": "half", "text": "half a pair \\ud83d"}',
        b'{"id": "nul", "text": "a\\u0000b"}',
        b'{"id": 123456789012345678901234567890, "text": "t"}',
        b'{"id": "empty", "text": ""}',
        b'{"id": "windows", "text": "t"}\r',
    ]
    path.write_bytes(b"\n".join(lines))
    records = _read(path)
    assert all(isinstance(r, Record) for r in records), records
    assert [r.id for r in records] == [
        "mark", "nan", "half", "nul", "123456789012345678901234567890", "empty", "windows",
    ]  # fmt: skip


def test_a_json_array_is_one_bad_record(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"text": "a"}, {"text": "b"}], indent=1))
    (bad,) = _read(path)
    assert isinstance(bad, BadRecord)
    assert bad.reason.startswith("json_array: ")


def test_an_array_in_the_first_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('[{"text": "a"}, {"text": "b"}]\n{"text": "c"}\n["d"]\n')
    first, second, third = _read(path)
    assert isinstance(first, BadRecord)
    assert first.reason.startswith("json_array: ")
    assert isinstance(second, Record)
    assert isinstance(third, BadRecord)
    assert third.reason == "not_an_object"


def test_encoding_is_refused_as_json_lines_are_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(ConfigError, match=r"^sources\.0\.encoding: .*UTF-8"):
        _read(path, encoding="gbk")


def test_a_line_nested_too_deeply_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    deep = ["[" * depth + "]" * depth for depth in (900, 1000, 1024, 5000)]
    path.write_text("{}\n" + "\n".join(deep) + '\n{"text": "fine"}\n')
    *bad, last = _read(path)
    assert len(bad) == 5
    assert all(isinstance(r, BadRecord) for r in bad)
    assert isinstance(last, Record)


def test_what_a_maker_raises_is_no_broken_stream(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a"}\n')
    config = _config(path)
    (shard,) = plan_shards(config)

    def fail(row: Any, place: str) -> Record:
        raise ValueError("a defect")

    (source,) = config.sources
    assert isinstance(source, FilesSource)
    with pytest.raises(ValueError, match="a defect"):
        list(read_rows(source, shard.files[0], ContentKeys(), fail))


def test_the_same_id_twice_keeps_its_key(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": "a", "text": "one"}\n{"id": "a", "text": "two"}\n')
    assert [r.key for r in _read(path)] == ["a", "a"]


@pytest.mark.data
def test_the_broken_file_of_the_shared_data_is_one_bad_record(
    data_dir: Path, tmp_path: Path
) -> None:
    import tarfile

    with tarfile.open(data_dir / "sft" / "broken_json.tar.gz") as archive:
        archive.extractall(tmp_path)
    (path,) = tmp_path.rglob("*.json")
    (bad,) = _read(path)
    assert isinstance(bad, BadRecord)
    assert bad.reason.startswith("json_array")
