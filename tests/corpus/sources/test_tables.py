"""Parquet, Arrow and Hugging Face datasets."""

import random
import struct
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


@pytest.mark.parametrize(
    "dates",
    [
        pa.array([0, 2**62, None], pa.timestamp("us")),
        pa.array([0, 2**61, None], pa.timestamp("ms")),
        pa.array([0, 2**30, None], pa.date32()),
    ],
)
@pytest.mark.parametrize("format_", ["parquet", "arrow"])
def test_a_date_beyond_pythons_is_left_out(tmp_path: Path, dates: pa.Array, format_: str) -> None:
    table = pa.table({"text": ["a", "b", "c"], "date": dates})
    records = _read(_config(_written(tmp_path, table, format_), format_))
    expected = [("a", True), ("b", False), ("c", False)]
    found = [(r.text, r.date is not None) for r in records if isinstance(r, Record)]
    assert found == expected


@pytest.mark.parametrize("format_", ["parquet", "arrow"])
def test_what_python_cannot_hold_costs_its_cell_or_its_row(tmp_path: Path, format_: str) -> None:
    zoned = pa.array([0, 1], pa.timestamp("us", "Foo/Bar"))
    table = pa.table({"text": ["a", "b"], "date": zoned, "title": zoned})
    records = _read(_config(_written(tmp_path, table, format_), format_))
    assert [(r.text, r.date, r.title) for r in records if isinstance(r, Record)] == [
        ("a", None, None),
        ("b", None, None),
    ]
    table = pa.table({"text": pa.array([2**62, None], pa.timestamp("us"))})
    records = _read(_config(_written(tmp_path, table, format_), format_))
    codes = [r.reason.split(":")[0] for r in records if isinstance(r, BadRecord)]
    assert codes == ["text_not_a_string", "no_text"]


def _written(folder: Path, table: pa.Table, format_: str) -> Path:
    path = folder / f"x.{format_}"
    if format_ == "parquet":
        pq.write_table(table, path, store_schema=True)
    else:
        feather.write_feather(table, path, compression="uncompressed")
    return path


@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize("type_", [pa.string(), pa.large_string()])
def test_broken_offsets_cost_their_batch_alone(
    tmp_path: Path, kind: str, type_: pa.DataType
) -> None:
    path = tmp_path / "x.arrow"
    texts = [[f"{batch} and {row}" for row in range(4)] for batch in range(3)]
    make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with make(path, pa.schema([("text", type_)])) as writer:
        for batch in texts:
            writer.write_batch(pa.record_batch({"text": pa.array(batch, type_)}))
    raw = path.read_bytes()
    code = "<5i" if type_ == pa.string() else "<5q"
    good = struct.pack(code, 0, 7, 14, 21, 28)
    at = raw.index(good, raw.index(good) + 1)
    wrong = struct.pack(code, 0, 7, 2_000_000_000, -5, 2_100_000_000)
    path.write_bytes(raw[:at] + wrong + raw[at + len(wrong) :])
    records = _read(_config(path, "arrow"))
    bad = [(r.id, r.reason.split(":")[0]) for r in records if isinstance(r, BadRecord)]
    assert bad == [("x.arrow:5", "broken_arrow")]
    assert [r.text for r in records if isinstance(r, Record)] == texts[0] + texts[2]


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), "dictionary"])
def test_a_cell_of_arrow_that_is_no_utf8_loses_its_row_alone(
    tmp_path: Path, type_: pa.DataType | str
) -> None:
    large = type_ == pa.large_string()
    cells = pa.array([b"fine", b"caf\xe9", b"too"], pa.large_binary() if large else pa.binary())
    cells = cells.view(pa.large_string() if large else pa.string())
    if type_ == "dictionary":
        cells = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), cells)
    path = _written(tmp_path, pa.table({"text": cells}), "arrow")
    records = _read(_config(path, "arrow"))
    assert [getattr(r, "reason", "")[:13] for r in records] == ["", "not_utf8: byt", ""]


@pytest.mark.parametrize("split", ["train[:2]", "train+test"])
def test_a_split_that_is_cut_or_added_is_refused(tmp_path: Path, split: str) -> None:
    datasets.Dataset(_table(4).drop(["date", "unused"])).save_to_disk(tmp_path / "one")
    with pytest.raises(ConfigError, match=r"^sources\.0\.split: .* without slices"):
        plan_shards(_config(tmp_path / "one", "huggingface", split=split))


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
