"""Web archives (WARC): the HTML and plain-text responses."""

from collections.abc import Iterator

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from corpus.sources.config import FilesSource
from corpus.sources.keys import ContentKeys
from corpus.sources.record import BadRecord, Record, ShardFile

HTML_TYPES = ("text/html", "application/xhtml+xml")
_PAGES = (WarcRecordType.response, WarcRecordType.conversion)


class _Damaged(Exception):
    """A record whose content cannot be trusted."""


def read_warc(source: FilesSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """One record per web page (status 200, HTML or plain text); others are no documents.

    Damage is one bad record; reading goes on where the archive can still be followed.
    """
    keys = ContentKeys()
    seen = 0
    try:
        for record in ArchiveIterator(file.path, fsspec_args=False, auto_decode="all"):
            seen += 1
            if record.record_type in _PAGES:
                yield from _page(source, file, record, keys)
    except Exception as error:  # the parser raises what it meets: zlib, Unicode, OSError
        yield _bad(source, f"{file.name}:{seen}", f"{file.name}:broken", "broken_warc", error)
        return
    if seen == 0:
        empty = EOFError("no WARC record found in it")
        yield _bad(source, file.name, f"{file.name}:broken", "broken_warc", empty)


def _page(
    source: FilesSource, file: ShardFile, record: WarcRecord, keys: ContentKeys
) -> Iterator[Record | BadRecord]:
    url = (record.headers.get("WARC-Target-URI") or "").strip("<>") or None
    key = (record.record_id or "").strip("<>")
    place = url or key or file.name
    try:
        body = _body(record)
    except Exception as error:  # as above: what the decoders raise
        yield _bad(source, place, key or f"{file.name}:{place}", "damaged_record", error)
        return
    if body is None:
        return
    key = key or keys.key(body)
    if _content_type(record) in HTML_TYPES:
        yield Record(id=key, key=key, source=source.source, url=url, html=body)
        return
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        yield _bad(source, place, key, "not_utf8", error)
        return
    yield Record(id=key, key=key, source=source.source, url=url, text=text)


def _body(record: WarcRecord) -> bytes | None:
    """The page's bytes; None for what is no page. Raises _Damaged on a cut record."""
    http = record.http_headers
    if http is None and record.record_type == WarcRecordType.response:
        raise _Damaged("no HTTP header in a response")
    if http is not None and http.status_code != 200:
        return None
    if _content_type(record) not in (*HTML_TYPES, "text/plain"):
        return None
    expected = record.content_length
    encoded = http is not None and (http.get("Transfer-Encoding") or http.get("Content-Encoding"))
    body = record.reader.read()
    if not encoded and len(body) < expected:
        raise _Damaged(f"{len(body)} of {expected} bytes")
    return body


def _content_type(record: WarcRecord) -> str:
    if record.http_headers is not None:
        kind = record.http_content_type
    else:
        kind = record.headers.get("Content-Type")
    return (kind or "").split(";")[0].strip().lower()


def _bad(source: FilesSource, place: str, key: str, code: str, error: Exception) -> BadRecord:
    detail = " ".join(str(error).split())[:200] or type(error).__name__
    return BadRecord(id=place, key=key, source=source.source, reason=f"{code}: {detail}")
