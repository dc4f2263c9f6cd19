import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pydantic import ValidationError

from clusters.config import ConfigError
from corpus.config import BuildConfig
from corpus.sources.plan import external_inputs, plan_shards, read_shard
from corpus.sources.record import BadRecord, Record


def _config(path: Path | str, format_: str = "jsonl", **more: str) -> BuildConfig:
    source = {"path": str(path), "format": format_, "source": "test", **more}
    return BuildConfig.model_validate({"sources": [source]})


def _read(config: BuildConfig) -> list[Record | BadRecord]:
    return [record for shard in plan_shards(config) for record in read_shard(config, shard)]


def _lines(count: int) -> bytes:
    rng = random.Random()
    rows = [
        {"id": f"r{i}", "text": f"text {rng.random()}", "url": "http://x/"} for i in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_the_three_spellings_of_jsonl_read_alike(tmp_path: Path) -> None:
    raw = _lines(40)
    (tmp_path / "a.jsonl").write_bytes(raw)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(raw))
    half = raw.index(b"\n", len(raw) // 2) + 1
    frames = [zstandard.ZstdCompressor().compress(part) for part in (raw[:half], raw[half:])]
    (tmp_path / "a.jsonl.zst").write_bytes(b"".join(frames))
    plain = _read(_config(tmp_path / "a.jsonl"))
    assert len(plain) == 40
    assert all(isinstance(r, Record) and r.url == "http://x/" for r in plain)
    assert _read(_config(tmp_path / "a.jsonl.gz")) == plain
    assert _read(_config(tmp_path / "a.jsonl.zst")) == plain


def test_bad_lines_are_told_apart_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [
        b'{"id": "ok", "text": "fine"}',
        b'{"id": "cut", "text": ',
        b'{"id": "latin", "text": "caf\xe9"}',
        b"[1, 2]",
        b'{"id": "none"}',
        b'{"id": "number", "text": 5}',
        b"",
        b'{"text": "no id"}',
        b'{"text": "no id"}',
    ]
    (tmp_path / "bad.jsonl").write_bytes(b"\n".join(lines))
    records = _read(_config(tmp_path / "bad.jsonl"))
    reasons = [r.reason.split(":")[0] for r in records if isinstance(r, BadRecord)]
    assert reasons == ["bad_json", "not_utf8", "not_an_object", "no_text", "text_not_a_string"]
    assert next(r.id for r in records if isinstance(r, BadRecord)) == "bad.jsonl:2"
    good = [r for r in records if isinstance(r, Record)]
    assert [r.text for r in good] == ["fine", "no id", "no id"]
    assert len({r.key for r in good}) == 3


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_broken_stream_ends_the_file_with_one_bad_record(tmp_path: Path, ending: str) -> None:
    raw = _lines(2000)
    packed = gzip.compress(raw) if ending == "gz" else zstandard.compress(raw)
    path = tmp_path / f"cut.jsonl.{ending}"
    path.write_bytes(packed[: len(packed) // 2])
    records = _read(_config(path))
    bad = [r for r in records if isinstance(r, BadRecord)]
    assert bad
    assert all(r.reason.split(":")[0] in ("broken_stream", "bad_json") for r in bad)
    assert len(bad) <= 2
    garbage = tmp_path / f"noise.jsonl.{ending}"
    garbage.write_bytes(b"this was never compressed")
    (only,) = _read(_config(garbage))
    assert isinstance(only, BadRecord)


def test_parquet_rows_and_a_broken_file(tmp_path: Path) -> None:
    table = pa.table({"body": ["one", None, "three"], "id": [1, 2, 3]})
    pq.write_table(table, tmp_path / "good.parquet")
    raw = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "torn.parquet").write_bytes(raw[: len(raw) // 2])
    records = _read(_config(tmp_path, "parquet", text_field="body"))
    assert [(r.id, isinstance(r, Record)) for r in records] == [
        ("1", True), ("good.parquet:2", False), ("3", True), ("torn.parquet:1", False),
    ]  # fmt: skip


def test_text_folder_with_markdown_html_and_a_wrong_encoding(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes("\ufeffbyte order mark".encode())
    (folder / "b.md").write_text("See [the guide](http://x/y) now.")
    (folder / "c.html").write_text("<html><body><p>Hello page</p></body></html>")
    (folder / "d.rst").write_bytes(b"caf\xe9")
    (folder / "e.png").write_bytes(b"\x89PNG")
    records = {r.id: r for r in _read(_config(tmp_path / "docs", "text"))}
    assert set(records) == {"deep/a.txt", "deep/b.md", "deep/c.html", "deep/d.rst"}
    assert getattr(records["deep/a.txt"], "text", "") == "byte order mark"
    assert getattr(records["deep/b.md"], "text", "") == "See the guide now."
    assert getattr(records["deep/c.html"], "html", None)
    assert isinstance(records["deep/d.rst"], BadRecord)


def test_a_glob_and_its_folder_name_files_alike_wherever_they_lie(tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        for name in ("x.jsonl", "y.jsonl"):
            (tmp_path / place / name).write_bytes(name.encode())
    here = external_inputs(_config(tmp_path / "here"))
    assert here == external_inputs(_config(tmp_path / "there"))
    assert here == external_inputs(_config(f"{tmp_path}/here/*.jsonl"))
    assert [item.name for item in here] == ["sources.0/x.jsonl", "sources.0/y.jsonl"]


def test_missing_and_empty_paths_name_the_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^sources\.0\.path: no jsonl file at '.*/nowhere'"):
        plan_shards(_config(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"^sources\.0\.path: no jsonl"):
        external_inputs(_config(tmp_path))


def test_small_files_share_units_that_follow_from_bytes_alone(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i:02d}.txt").write_text("word " * (i + 1))
    config = _config(tmp_path, "text", group_bytes="400")
    shards = plan_shards(config)
    assert 3 < len(shards) < 30
    assert all(shard.bytes <= 400 or len(shard.files) == 1 for shard in shards)
    names = [file.name for shard in shards for file in shard.files]
    assert names == sorted(p.name for p in tmp_path.iterdir())


def test_encodings_of_text_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße".encode("utf-16"))
    (tmp_path / "b.txt").write_bytes(("Le café est bon. " * 9).encode("latin-1"))
    (tmp_path / "c.txt").write_bytes(b"")
    first, second, third = _read(_config(tmp_path, "text"))
    assert getattr(first, "text", "") == "Grüße"
    assert isinstance(second, BadRecord)
    assert second.reason.startswith("not_utf8: byte 6; it looks like")
    assert getattr(third, "text", None) == ""
    named = _read(_config(tmp_path, "text", encoding="latin-1"))[1]
    assert getattr(named, "text", "").startswith("Le café")
    with pytest.raises(ValidationError, match="'latin-one' is no codec of Python; use a name"):
        _config(tmp_path, "text", encoding="latin-one")


def test_a_huge_text_file_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 1000)
    (only,) = _read(_config(tmp_path, "text", max_record_bytes="999"))
    assert isinstance(only, BadRecord)
    assert only.reason.startswith("too_long")


def test_a_wat_file_is_refused_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "x.warc.wat.gz").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"^sources\.0\.path: x\.warc\.wat\.gz is a WAT file"):
        plan_shards(_config(tmp_path / "x.warc.wat.gz", "warc"))
