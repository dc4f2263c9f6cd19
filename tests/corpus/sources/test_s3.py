"""S3-like stores, against a real S3 API server on loopback."""

import json
import random
from pathlib import Path

import pytest

from clusters.config import ConfigError
from clusters.stage import StageError
from corpus.config import BuildConfig
from corpus.sources.plan import external_inputs, plan_shards, read_shard
from corpus.sources.record import BadRecord, Record
from tests.corpus.builder import build, write_source
from tests.corpus.sources.conftest import S3Server, source_of


def _config(path: str, format_: str = "jsonl", **more: object) -> BuildConfig:
    return BuildConfig.model_validate({"sources": [source_of(path, format_, **more)]})


def _read(config: BuildConfig) -> list[Record | BadRecord]:
    return [record for shard in plan_shards(config) for record in read_shard(config, shard)]


def _rows(count: int) -> bytes:
    rng = random.Random()
    rows = [{"id": f"r{i}", "text": f"text {rng.random()}"} for i in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_objects_are_found_named_and_read_as_files_are(s3: S3Server, tmp_path: Path) -> None:
    for name in ("a.jsonl", "deep/b.jsonl", "c.txt"):
        content = _rows(50)
        s3.put(f"crawl/{name}", content)
        path = tmp_path / "crawl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for pattern in ("crawl", "crawl/", "crawl/*.jsonl", "crawl/**/*.jsonl", "crawl/a.jsonl"):
        remote, local = f"s3://lake/{pattern}", str(tmp_path / pattern)
        assert _read(_config(remote)) == _read(_config(local)), pattern
    names = [item.name for item in external_inputs(_config("s3://lake/crawl"))]
    assert names == ["sources.0/a.jsonl", "sources.0/deep/b.jsonl"]


def test_a_large_object_is_read_in_parts_with_the_same_records(s3: S3Server) -> None:
    s3.put("big.jsonl", _rows(500))
    config = _config("s3://lake/big.jsonl", shard_bytes=5000)
    assert len(plan_shards(config)) > 3
    assert _read(config) == _read(_config("s3://lake/big.jsonl"))


def test_the_fingerprint_follows_the_etag(s3: S3Server) -> None:
    s3.put("x.jsonl", b'{"text": "one"}\n')
    (before,) = external_inputs(_config("s3://lake/x.jsonl"))
    assert before.blake3.startswith("etag:")
    assert before.bytes == 16
    s3.put("x.jsonl", b'{"text": "two"}\n')
    assert external_inputs(_config("s3://lake/x.jsonl")) != [before]


def test_missing_objects_and_unknown_urls_name_the_key(s3: S3Server) -> None:
    with pytest.raises(ConfigError, match=r"^sources\.0\.path: no jsonl file at 's3://lake/no'"):
        plan_shards(_config("s3://lake/no"))
    with pytest.raises(ConfigError, match=r"^sources\.0\.path: 'ftp://x/y'.*s3://BUCKET"):
        plan_shards(_config("ftp://x/y"))


def test_wrong_or_no_credentials_are_named_before_the_start(
    strict_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ConfigError, match=r"^sources\.0\.path: .*AWS_SECRET_ACCESS_KEY") as caught:
        external_inputs(_config("s3://lake/x.jsonl"))
    assert "wrong" not in str(caught.value)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match=r"^sources\.0\.path: no credentials.*anonymous: true"):
        external_inputs(_config("s3://lake/x.jsonl"))


def test_a_public_bucket_is_read_without_credentials(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("x.jsonl", b'{"text": "one"}\n')
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (record,) = _read(_config("s3://lake/x.jsonl", anonymous=True))
    assert isinstance(record, Record)


def test_an_object_that_changes_or_vanishes_stops_the_unit(s3: S3Server) -> None:
    s3.put("x.jsonl", _rows(10))
    config = _config("s3://lake/x.jsonl")
    (shard,) = plan_shards(config)
    s3.put("x.jsonl", _rows(10))
    with pytest.raises(StageError, match=r"s3://lake/x\.jsonl has changed since the stage"):
        list(read_shard(config, shard))
    s3.delete("x.jsonl")
    with pytest.raises(StageError, match=r"s3://lake/x\.jsonl has vanished.*put it back"):
        list(read_shard(config, shard))


def test_an_object_that_changes_while_it_is_read_is_noticed_at_its_end(s3: S3Server) -> None:
    s3.put("x.jsonl", _rows(10))
    config = _config("s3://lake/x.jsonl")
    (shard,) = plan_shards(config)
    records = read_shard(config, shard)
    next(records)
    s3.put("x.jsonl", _rows(10))
    with pytest.raises(StageError, match=r"has changed since the stage started"):
        list(records)


@pytest.mark.usefixtures("ray_session")
def test_a_corpus_from_s3_is_the_corpus_from_files(s3: S3Server, tmp_path: Path) -> None:
    write_source(tmp_path / "src", random.Random(), shards=2, each=40)
    for path in sorted((tmp_path / "src").iterdir()):
        s3.put(f"raw/{path.name}", path.read_bytes())
    local = build(tmp_path / "local", tmp_path / "src")
    sources = [source_of("s3://lake/raw", endpoint=s3.url) | {"source": "made"}]
    # Ray's workers were started before the credentials came into this environment.
    remote = build(
        tmp_path / "remote", tmp_path / "src", sources=[sources[0] | {"anonymous": True}]
    )
    assert remote.manifest.digest == local.manifest.digest
    assert all(item.blake3.startswith("etag:") for item in remote.manifest.external)
