"""Files that vanish, change or cannot be read: before the start, and in mid-run."""

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clusters.stage import StageError
from corpus.config import BuildConfig
from corpus.sources.plan import plan_shards, read_shard
from corpus.sources.record import Shard
from tests.corpus.builder import build, write_source
from tests.corpus.sources.conftest import source_of


def _write(path: Path, format_: str) -> None:
    rng = random.Random()
    rows = [{"id": str(i), "text": f"text {rng.random()} " * 50} for i in range(2000)]
    if format_ == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100)
    elif format_ == "arrow":
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
    elif format_ == "warc":
        body = "<html>" + rows[0]["text"] + "</html>"
        http = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{body}"
        head = f"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: {len(http)}\r\n\r\n"
        member = gzip.compress((head + http + "\r\n\r\n").encode())
        path.write_bytes(member * 2000)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


_CASES = [("jsonl", "x.jsonl"), ("parquet", "x.parquet"), ("arrow", "x.arrow"),
          ("warc", "x.warc.gz"), ("text", "x.txt"), ("mail", "x.mbox")]  # fmt: skip


@pytest.mark.parametrize(("format_", "name"), _CASES)
def test_a_file_that_vanishes_or_changes_stops_its_unit(
    tmp_path: Path, format_: str, name: str
) -> None:
    path = tmp_path / name
    _write(path, format_)
    config = BuildConfig.model_validate({"sources": [source_of(path, format_)]})
    (shard,) = plan_shards(config)
    assert list(read_shard(config, shard))
    os.utime(path, ns=(1, 1))
    with pytest.raises(StageError, match=rf"{name} has changed since the stage started.*put it"):
        list(read_shard(config, shard))
    path.unlink()
    with pytest.raises(StageError, match=rf"{name} has vanished since the stage started"):
        list(read_shard(config, shard))


@pytest.mark.parametrize(("format_", "name"), _CASES[:4])
def test_a_file_cut_while_it_is_read_is_lost_not_damaged(
    tmp_path: Path, format_: str, name: str
) -> None:
    path = tmp_path / name
    _write(path, format_)
    config = BuildConfig.model_validate({"sources": [source_of(path, format_)]})
    (shard,) = plan_shards(config)
    records = read_shard(config, shard)
    next(records)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(StageError, match="has changed since the stage started"):
        list(records)


_AS_NOBODY = """
import os, sys
from clusters.config import ConfigError
from corpus.config import BuildConfig
from corpus.sources.plan import external_inputs
if os.getuid() == 0:  # root may read everything
    os.setuid(65534)
source = {"path": sys.argv[1], "format": "jsonl", "source": "x"}
try:
    external_inputs(BuildConfig.model_validate({"sources": [source]}))
except ConfigError as error:
    print(error)
"""


def test_a_file_without_permission_stops_before_the_start(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "secret"}\n')
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    command = [sys.executable, "-c", _AS_NOBODY, str(path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.stdout.startswith(f"sources.0.path: {path} cannot be read: "), done.stderr
    assert "Permission denied" in done.stdout


@pytest.mark.usefixtures("ray_session")
def test_a_build_whose_input_vanishes_stops_and_goes_on_where_it_was_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(tmp_path / "src", random.Random(), shards=3, each=40)
    lost, away = tmp_path / "src" / "shard-1.jsonl", tmp_path / "away"
    expected = build(tmp_path / "good", tmp_path / "src").manifest.digest

    def lose(config: BuildConfig) -> list[Shard]:
        shards = plan_shards(config)
        lost.rename(away)
        return shards

    with monkeypatch.context() as patch:
        patch.setattr("corpus.pipeline.plan_shards", lose)
        with pytest.raises(StageError, match=r"shard-1\.jsonl has vanished since.*put it back"):
            build(tmp_path / "store", tmp_path / "src")
    assert not list((tmp_path / "store").rglob("manifest.json"))
    assert not list((tmp_path / "store").rglob("read/00001.json"))
    away.rename(lost)
    assert build(tmp_path / "store", tmp_path / "src").manifest.digest == expected
