"""Parquet, Arrow and Hugging Face datasets."""

import random
import sys
from datetime import date
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from clusters.config import ConfigError
from corpus.config import BuildConfig
from corpus.sources.plan import external_inputs, plan_shards, read_shard
from corpus.sources.record import BadRecord, Record
from tests.corpus.sources.conftest import source_of


def _config(path: Path | str, format_: str, **more: Any) -> BuildConfig:
    return BuildConfig.model_validate({"sources": [source_of(path, format_, **more)]})


def _read(config: BuildConfig) -> list[Record | BadRecord]:
    return [record for shard in plan_shards(config) for record in read_shard(config, shard)]


def _table(rows: int) -> pa.Table:
    rng = random.Random()
    return pa.table({
        "id": [f"r{i}" for i in range(rows)],
        "text": [f"text {rng.random()}" for _ in range(rows)],
        "date": [date(2020, 1, 1 + i % 28) for i in range(rows)],
        "unused": [bytes(100)] * rows,
    })  # fmt: skip


def _expected(table: pa.Table) -> list[tuple[str, str, str]]:
    return [(r["id"], r["text"], r["date"].isoformat()) for r in table.to_pylist()]


def _found(records: list[Record | BadRecord]) -> list[tuple[str, str, str | None]]:
    assert all(isinstance(r, Record) for r in records), records
    return [(r.id, r.text, r.date) for r in records if isinstance(r, Record)]


def test_row_groups_of_a_large_file_are_units_of_their_own(tmp_path: Path) -> None:
    table = _table(1000)
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=90)
    assert _found(_read(_config(path, "parquet"))) == _expected(table)
    cut = _config(path, "parquet", shard_bytes=path.stat().st_size // 4)
    assert 3 < len(plan_shards(cut)) <= 12
    assert _found(_read(cut)) == _expected(table)


def test_a_damaged_row_group_is_one_bad_record_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(_table(300).select(["id", "text"]), path, row_group_size=100)
    group = pq.read_metadata(path).row_group(1).column(1)
    raw = bytearray(path.read_bytes())
    start = group.dictionary_page_offset or group.data_page_offset
    raw[start : start + group.total_compressed_size] = bytes(group.total_compressed_size)
    path.write_bytes(bytes(raw))
    records = _read(_config(path, "parquet"))
    bad = [r for r in records if isinstance(r, BadRecord)]
    assert [r.reason.split(":")[0] for r in bad] == ["broken_parquet"]
    ids = [r.id for r in records if isinstance(r, Record)]
    assert ids == [f"r{i}" for i in [*range(100), *range(200, 300)]]


def test_a_cell_that_is_no_utf8_loses_its_row_alone(tmp_path: Path) -> None:
    cells = pa.array([b"fine", b"caf\xe9", b"fine too"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": cells}), tmp_path / "x.parquet")
    records = _read(_config(tmp_path / "x.parquet", "parquet"))
    assert [getattr(r, "reason", "")[:13] for r in records] == ["", "not_utf8: byt", ""]


def test_arrow_files_streams_and_feather_read_alike(tmp_path: Path) -> None:
    table = _table(500)
    with pa.ipc.new_file(tmp_path / "file.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=70)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=70)
    feather.write_feather(table, tmp_path / "f.feather")
    for name in ("file.arrow", "stream.arrow", "f.feather"):
        assert _found(_read(_config(tmp_path / name, "arrow"))) == _expected(table), name


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_a_cut_arrow_file_is_a_bad_record(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.arrow"
    table = _table(500)
    make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with make(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    records = _read(_config(path, "arrow"))
    (bad,) = [r for r in records if isinstance(r, BadRecord)]
    assert bad.reason.startswith("broken_arrow: ")
    assert kind == "file" or len(records) > 100


def test_a_saved_dataset_and_its_splits_are_read(tmp_path: Path) -> None:
    table = _table(40)
    whole = datasets.Dataset(table.drop(["date", "unused"]))
    whole.save_to_disk(tmp_path / "one", num_shards=3)
    datasets.DatasetDict({"train": whole, "test": whole.select([1, 2])}).save_to_disk(
        tmp_path / "dict"
    )
    expected = [row[:2] for row in _expected(table)]
    for folder in ("one", "dict"):
        config = _config(tmp_path / folder, "huggingface")
        assert [row[:2] for row in _found(_read(config))] == expected
        assert external_inputs(config)
    assert len(plan_shards(_config(tmp_path / "one", "huggingface"))) == 3
    held = _read(_config(tmp_path / "dict", "huggingface", split="test"))
    assert [row[:2] for row in _found(held)] == expected[1:3]
    with pytest.raises(ConfigError, match=r"^sources\.0\.split: 'tset' is none.*'test'"):
        plan_shards(_config(tmp_path / "dict", "huggingface", split="tset"))


def test_a_dataset_of_files_goes_through_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = _table(40).drop(["date", "unused"])
    (tmp_path / "repo").mkdir()
    pq.write_table(table, tmp_path / "repo" / "train.parquet")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    config = _config(tmp_path / "repo", "huggingface")
    assert [r.text for r in _read(config) if isinstance(r, Record)] == table["text"].to_pylist()


def test_offline_or_without_the_package_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = _config("nobody/no-such-dataset", "huggingface")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"^sources\.0\.path: .*save_to_disk"):
        plan_shards(config)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"^sources\.0\.path: .*pip install 'inkstone\[hub\]'"):
        plan_shards(config)
