import gzip
import random
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
        archive.extractall(tmp_path)
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


def _response(
    url: str, body: bytes, headers: str = "Content-Type: text/html", status: int | str = 200
) -> bytes:
    http = f"HTTP/1.1 {status} X\r\n{headers}\r\n\r\n".encode("latin-1") + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\n"
        f"WARC-Record-ID: <urn:{url}>\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def test_a_damaged_gzip_member_is_one_bad_record_and_the_next_ones_are_read(
    tmp_path: Path,
) -> None:
    rng = random.Random()
    members = [
        gzip.compress(_response(f"http://x/{i}", rng.randbytes(rng.randint(100, 3000))))
        for i in range(60)
    ]  # fmt: skip
    hit = sorted(rng.sample(range(1, 60), 3))
    for index in hit:
        member = bytearray(members[index])
        middle = len(member) // 2
        member[middle : middle + 20] = bytes(20)
        members[index] = bytes(member)
    path = tmp_path / "x.warc.gz"
    path.write_bytes(b"".join(members))
    records = _read(path)
    pages = {r.url for r in records if isinstance(r, Record)}
    assert pages == {f"http://x/{i}" for i in range(60) if i not in hit}
    bad = [r for r in records if isinstance(r, BadRecord)]
    assert len(bad) >= len(hit)
    assert len({r.key for r in bad}) == len(bad)


def test_headers_say_charset_type_and_encoding(tmp_path: Path) -> None:
    page = "<html><p>caf\xe9</p></html>".encode("latin-1")
    path = tmp_path / "x.warc"
    kind = "Content-Type: text/html; charset="
    chunked = kind + "x\r\nTransfer-Encoding: chunked"
    path.write_bytes(
        _response("a", page, kind + '"ISO-8859-1"')
        + _response("b", gzip.compress(page), kind + "x\r\nContent-Encoding: gzip")
        + _response("c", page, kind + "x\r\nContent-Encoding: gzip")
        + _response("d", b"5\r\n<html\r\n2\r\n/>\r\n0\r\n\r\n", chunked)
        + _response("e", "Gr\xfc\xdfe".encode("latin-1"), "Content-Type: text/plain; charset=l1")
        + _response("f", b"<!DOCTYPE html><p>x</p>", "X: no type")
        + _response("g", b"%PDF-1.4", "Content-Type: application/pdf")
        + _response("h", page, status=404)
        + _response("i", gzip.compress(page)[:-9], kind + "x\r\nContent-Encoding: gzip")
        + _response("j", b"<html>" + b"x" * 200_000)
    )  # fmt: skip
    skipped: Counter[str] = Counter()
    source = SOURCE.model_copy(update={"max_record_bytes": 100_000})
    found = {
        r.id.removeprefix("urn:"): r
        for r in read_warc(source, ShardFile(path=str(path), name="x"), skipped)
    }
    good = {key: r for key, r in found.items() if isinstance(r, Record)}
    assert [good[key].html for key in "abc"] == [page, page, page]
    assert good["a"].charset == "iso-8859-1"
    assert good["d"].html == b"<html/>"
    assert good["e"].text == "Grüße"
    assert good["f"].html == b"<!DOCTYPE html><p>x</p>"
    assert skipped == {"warc.other_type": 1, "warc.status_404": 1}
    bad = {r.id: r.reason.split(":")[0] for r in found.values() if isinstance(r, BadRecord)}
    assert bad == {"i": "damaged_record", "j": "too_long"}


def test_an_old_archive_is_read_page_by_page(tmp_path: Path) -> None:
    def record(url: str, block: bytes, length: int | None = None) -> bytes:
        size = len(block) if length is None else length
        return f"{url} 1.2.3.4 20010203040506 text/html {size}\n".encode() + block + b"\n"

    ok = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>one</p>"
    gone = b"HTTP/1.0 404 No\r\nContent-Type: text/html\r\n\r\n<p>gone</p>"
    raw = (
        record("filedesc://x.arc", b"1 0 Maker\nURL IP-address Archive-date\n")
        + record("http://a/with space", ok)
        + record("http://b/", gone)
        + record("http://c/", b"no response at all")
        + record("http://d/", ok, 5000)
    )
    for name, content in (("x.arc", raw), ("x.arc.gz", gzip.compress(raw))):
        (tmp_path / name).write_bytes(content)
        page, none, cut = _read(tmp_path / name)
        assert isinstance(page, Record)
        assert (page.url, page.html) == ("http://a/with space", b"<p>one</p>")
        assert [getattr(r, "reason", "")[:14] for r in (none, cut)] == ["damaged_record"] * 2


@pytest.mark.parametrize("charset", ["undefined", "a\0b", "klingon", "x" * 500])
@pytest.mark.parametrize("kind", ["warc", "arc"])
def test_an_odd_charset_costs_its_page_alone(tmp_path: Path, charset: str, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    bad, good = f"Content-Type: text/plain; charset={charset}", "Content-Type: text/plain"
    make = _response if kind == "warc" else _arc_response
    path.write_bytes(make("http://a/", b"caf\xe9", bad) + make("http://b/", b"fine", good))
    first, second = _read(path)
    assert isinstance(first, BadRecord)
    assert first.reason.startswith("bad_charset: ")
    assert isinstance(second, Record)
    assert second.text == "fine"


@pytest.mark.parametrize("status", ["20\xb2", "2" * 5000, "2", "-20"])
@pytest.mark.parametrize("kind", ["warc", "arc"])
def test_an_odd_status_costs_its_page_alone(tmp_path: Path, status: str, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    make = _response if kind == "warc" else _arc_response
    path.write_bytes(
        make("http://a/", b"<p>odd</p>", status=status) + make("http://b/", b"<p>fine</p>")
    )
    first, second = _read(path)
    assert isinstance(first, BadRecord)
    assert first.reason == "damaged_record: no HTTP header in a response"
    assert isinstance(second, Record)


def test_an_arc_length_that_is_no_number_is_a_broken_archive(tmp_path: Path) -> None:
    good = _arc_response("http://a/", b"<p>fine</p>")
    for length in ("20\xb2", "9" * 5000):
        path = tmp_path / "x.arc"
        line = f"http://b/ 1.2.3.4 20010203040506 text/html {length}\n"
        path.write_bytes(good + line.encode())
        first, second = _read(path)
        assert isinstance(first, Record)
        assert isinstance(second, BadRecord)
        assert second.reason.startswith("broken_arc: no ARC header")


def test_metadata_of_json_makes_no_wat_of_an_archive_with_pages(tmp_path: Path) -> None:
    about = (
        b"WARC/1.0\r\nWARC-Type: metadata\r\nWARC-Record-ID: <urn:m>\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}\r\n\r\n"
    )
    path = tmp_path / "x.warc"
    path.write_bytes(_response("a", b"<p>x</p>") + about)
    (page,) = _read(path)
    assert isinstance(page, Record)
    path.write_bytes(about + _response("a", b"<p>x</p>", status=404))
    (bad,) = _read(path)
    assert isinstance(bad, BadRecord)
    assert bad.reason.startswith("wat: ")


def _arc_response(
    url: str, body: bytes, headers: str = "Content-Type: text/html", status: int | str = 200
) -> bytes:
    block = f"HTTP/1.1 {status} X\r\n{headers}\r\n\r\n".encode("latin-1") + body
    return f"{url} 1.2.3.4 20010203040506 text/html {len(block)}\n".encode() + block + b"\n"
