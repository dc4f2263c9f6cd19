"""Old web archives (ARC 1 and 2, before WARC): the HTML and plain-text pages in them.

https://archive.org/web/researcher/ArcFileFormat.php: every record is a line ``URL IP DATE
TYPE ... LENGTH`` and LENGTH bytes, for pages the HTTP response.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from corpus.sources.config import FilesSource
from corpus.sources.decode import Undecodable, decode
from corpus.sources.decompress import STREAM_ERRORS, pieces
from corpus.sources.http import (
    HTML_TYPES,
    PAGE_TYPES,
    DamagedRecord,
    TooLarge,
    charset_of,
    decoded_body,
    media_type,
    parse_response,
)
from corpus.sources.keys import ContentKeys
from corpus.sources.record import BadRecord, Record, ShardFile

ENDINGS = (".arc", ".arc.gz")
_MAX_LINE = 1 << 16
_MAX_LENGTH_DIGITS = 18


@dataclass(frozen=True)
class _Entry:
    """One record: its header line and its block."""

    url: str
    kind: str
    block: bytes | None
    """None where it is longer than a record may be."""
    cut: bool


def is_arc(stream: BinaryIO, name: str) -> bool:
    """Whether a file is an ARC, by its name or first bytes."""
    head = stream.read(16)
    stream.seek(0)
    return name.endswith(ENDINGS) or head.startswith(b"filedesc://")


def read_arc(
    source: FilesSource, file: ShardFile, stream: BinaryIO, skipped: Counter[str]
) -> Iterator[Record | BadRecord]:
    """One record per page with status 200; damage ends the file with one bad record."""
    keys = ContentKeys()
    seen = 0
    name = file.name if file.name.endswith(".gz") else "plain"
    try:
        for entry in _entries(_Cursor(pieces(stream, name)), source.max_record_bytes):
            seen += 1
            made = _page(source, entry, keys, skipped)
            if made is not None:
                yield made
    except (*STREAM_ERRORS, DamagedRecord) as error:
        yield BadRecord(
            id=f"{file.name}:{seen + 1}",
            key=f"{file.name}:broken",
            source=source.source,
            reason=f"broken_arc: {error}",
        )


class _Cursor:
    """Reads lines and counts of bytes from pieces."""

    def __init__(self, pieces_: Iterator[bytes]) -> None:
        self._pieces = pieces_
        self._rest = b""

    def line(self) -> bytes | None:
        """The next line that is not empty, or None at the end."""
        while True:
            while b"\n" not in self._rest:
                piece = next(self._pieces, b"")
                if not piece:
                    line, self._rest = self._rest, b""
                    return line.strip() or None
                self._rest += piece
                if len(self._rest) > _MAX_LINE and b"\n" not in self._rest:
                    raise DamagedRecord("a header line does not end")
            line, _, self._rest = self._rest.partition(b"\n")
            if line.strip():
                return line.strip()

    def take(self, count: int, keep: bool) -> bytes:
        """The next ``count`` bytes (fewer at the end); read over where not kept."""
        parts = []
        while count > 0:
            if not self._rest:
                self._rest = next(self._pieces, b"")
                if not self._rest:
                    break
            part, self._rest = self._rest[:count], self._rest[count:]
            count -= len(part)
            if keep:
                parts.append(part)
        return b"".join(parts)


def _entries(cursor: _Cursor, max_bytes: int) -> Iterator[_Entry]:
    while (line := cursor.line()) is not None:
        url, kind, length = _header(line)
        keep = length <= max_bytes
        block = cursor.take(length, keep)
        yield _Entry(url, kind, block if keep else None, keep and len(block) < length)


def _header(line: bytes) -> tuple[str, str, int]:
    """URL, content type and length. A URL may hold spaces, so fields count from the end."""
    fields = line.decode("utf-8", "replace").split(" ")
    for width in (5, 10):  # version 1, version 2
        if len(fields) >= width and _fits(fields[1 - width :]):
            return " ".join(fields[: len(fields) - width + 1]), fields[3 - width], int(fields[-1])
    raise DamagedRecord(f"no ARC header: {line[:80]!r}")


def _fits(rest: list[str]) -> bool:
    """IP, date of 8 to 14 digits, ..., length."""
    date = rest[1]
    numbers = date.isascii() and date.isdigit() and rest[-1].isascii() and rest[-1].isdigit()
    return numbers and 8 <= len(date) <= 14 and len(rest[-1]) <= _MAX_LENGTH_DIGITS


def _page(
    source: FilesSource, entry: _Entry, keys: ContentKeys, skipped: Counter[str]
) -> Record | BadRecord | None:
    if entry.url.startswith(("filedesc:", "dns:")):
        skipped["arc.header"] += 1
        return None
    name = source.source
    if entry.block is None:
        reason = f"too_long: more than max_record_bytes ({source.max_record_bytes})"
        return BadRecord(entry.url, keys.key(entry.url), name, reason)
    key = keys.key(entry.block)
    try:
        if entry.cut:
            raise DamagedRecord("the record is cut short")
        response = parse_response(entry.block)
        content_type = response.headers.get("content-type", entry.kind)
        if response.status != 200 or media_type(content_type) not in PAGE_TYPES:
            is_ok = response.status == 200
            skipped["arc.other_type" if is_ok else f"arc.status_{response.status}"] += 1
            return None
        body = decoded_body(response, source.max_record_bytes)
        if media_type(content_type) in HTML_TYPES:
            charset = charset_of(content_type)
            return Record(key, key, name, url=entry.url, html=body, charset=charset)
        text = decode(body, charset_of(content_type) or source.encoding)
    except DamagedRecord as error:
        return BadRecord(entry.url, key, name, f"damaged_record: {error}")
    except TooLarge as error:
        return BadRecord(entry.url, key, name, f"too_long: {error}")
    except Undecodable as error:
        return BadRecord(entry.url, key, name, str(error))
    return Record(key, key, name, url=entry.url, text=text)
