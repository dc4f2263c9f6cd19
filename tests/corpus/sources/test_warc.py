import tarfile
from collections import Counter
from pathlib import Path

import pytest

from corpus.config import FilesSource
from corpus.sources.record import BadRecord, Record, ShardFile
from corpus.sources.warc import read_warc

SOURCE = FilesSource(path="x", format="warc", source="web")


def _read(path: Path) -> list[Record | BadRecord]:
    return list(read_warc(SOURCE, ShardFile(path=str(path), name=path.name)))


def _warc(records: list[tuple[str, bytes]]) -> bytes:
    """A plain WARC of HTTP responses."""
    parts = []
    for url, body in records:
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\n"
            f"WARC-Record-ID: <urn:{url}>\r\nContent-Type: application/http; msgtype=response\r\n"
            f"Content-Length: {len(http)}\r\n\r\n"
        )
        parts.append(head.encode() + http + b"\r\n\r\n")
    return b"".join(parts)


def test_reads_pages_with_url_and_record_id(tmp_path: Path) -> None:
    path = tmp_path / "good.warc"
    path.write_bytes(_warc([("http://a/", b"<p>one</p>"), ("http://b/", b"<p>two</p>")]))
    records = _read(path)
    assert [(r.url, r.html, r.key) for r in records if isinstance(r, Record)] == [
        ("http://a/", b"<p>one</p>", "urn:http://a/"),
        ("http://b/", b"<p>two</p>", "urn:http://b/"),
    ]


def test_a_cut_record_is_bad_and_those_before_it_are_read(tmp_path: Path) -> None:
    path = tmp_path / "cut.warc"
    whole = _warc([("http://a/", b"<p>one</p>"), ("http://b/", b"<p>two</p>" * 500)])
    path.write_bytes(whole[:-1000])
    first, second = _read(path)
    assert isinstance(first, Record)
    assert isinstance(second, BadRecord)
    assert second.reason.startswith("damaged_record")


@pytest.mark.parametrize("content", [b"", b"no archive at all\n", b"\x1f\x8b broken gzip"])
def test_what_is_no_archive_is_one_bad_record(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "none.warc.gz"
    path.write_bytes(content)
    (only,) = _read(path)
    assert isinstance(only, BadRecord)
    assert only.reason.startswith("broken_warc")


@pytest.mark.data
def test_every_sample_archive_gives_records_or_reasons(data_dir: Path, tmp_path: Path) -> None:
    with tarfile.open(data_dir / "warc_samples.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    found = {
        path.name: Counter("page" if isinstance(r, Record) else r.reason.split(":")[0]
                           for r in _read(path))
        for path in sorted(tmp_path.rglob("*"))
        if path.is_file() and path.name != "LICENSE"
    }  # fmt: skip
    assert len(found) == 30
    assert found["warcfile.warc"] == found["warcfile.warc.gz"] == found["warcfile.warc.lz4"]
    assert found["warcfile.warc"]["page"] > 10
    assert found["clipped.warc.gz"]["damaged_record"] + found["clipped.warc.gz"]["broken_warc"] == 1
    assert found["example-trunc.warc"]["broken_warc"] == 1
    assert found["bad.arc"] == {"broken_arc": 1}
    assert found["example.arc"] == found["example.arc.gz"] == {"page": 1}
    assert found["clueweb-quirk.warc.gz"] == {"page": 29}
    assert found["whirlwind.warc.wat"] == {"wat": 1}
    assert found["whirlwind.warc.wet"] == {"page": 1}
