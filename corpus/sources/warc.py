"""Web archives (WARC and WET): the HTML and plain-text pages in them.

A page is a ``response`` with status 200, or a ``conversion`` (WET: text that was extracted
before), of HTML or plain text. Everything else (requests, revisits, metadata, images, error
pages) is no document; it is counted by kind, not rejected.
"""

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from corpus.sources import arc
from corpus.sources.config import FilesSource
from corpus.sources.decode import Undecodable, decode
from corpus.sources.http import (
    HTML_TYPES,
    PAGE_TYPES,
    DamagedRecord,
    Response,
    TooLarge,
    charset_of,
    decoded_body,
    looks_like_html,
    media_type,
    parse_response,
)
from corpus.sources.keys import ContentKeys
from corpus.sources.members import next_gzip_member
from corpus.sources.record import BadRecord, Record, ShardFile
from corpus.sources.storage import Opened

_PAGES = (WarcRecordType.response, WarcRecordType.conversion)


def read_warc(
    source: FilesSource, file: ShardFile, skipped: Counter[str] | None = None
) -> Iterator[Record | BadRecord]:
    """One record per page; ``skipped`` counts the records that are none, by kind.

    Damage is one bad record; a gzip archive is read on from its next whole member.

    Raises:
        CorpusError: the file vanished, changed or could not be read.
    """
    skipped = Counter() if skipped is None else skipped
    with Opened(source, file) as stream:
        if arc.is_arc(stream, file.name):
            yield from arc.read_arc(source, file, stream, skipped)
        else:
            yield from _Reader(source, file, skipped).read(stream)


class _Reader:
    """One archive."""

    def __init__(self, source: FilesSource, file: ShardFile, skipped: Counter[str]) -> None:
        self.source = source
        self.file = file
        self.skipped = skipped
        self.keys = ContentKeys()
        self.seen = 0
        self.at = 0
        """Where the last record or member that could be read begins."""
        self.pages = 0
        self.wat = False
        """Whether it has a record as those of WAT files, which have no page."""

    def read(self, stream: BinaryIO) -> Iterator[Record | BadRecord]:
        """All records; goes on behind damage where there is a gzip member to go on at."""
        start: int | None = 0
        breaks = 0
        while start is not None:
            damage = None
            for record in self._records(stream, start):
                if isinstance(record, Exception):
                    damage = record
                else:
                    yield from self._record(record)
            start = None
            self._check_storage(stream)
            if damage is not None:
                breaks += 1
                yield self._broken(breaks, damage)
                start = next_gzip_member(stream, self.at + 1, b"WARC/")
        if self.seen == 0 and breaks == 0:
            empty = EOFError("no WARC record found in it")
            yield self._bad(self.file.name, f"{self.file.name}:broken", "broken_warc", empty)
        elif self.wat and self.pages == 0:
            what = ValueError("a WAT file holds metadata, no text; name its WARC or WET")
            yield self._bad(self.file.name, f"{self.file.name}:wat", "wat", what)

    def _records(self, stream: BinaryIO, start: int) -> Iterator[WarcRecord | Exception]:
        """The records from byte ``start`` on; last the error, where damage ended them."""
        stream.seek(start)
        self.at = start
        records = iter(ArchiveIterator(stream, fsspec_args=False, parse_http=False))
        while True:
            try:
                record = next(records, None)
            except Exception as error:  # the parser raises what it meets: zlib, Unicode, OSError
                yield error
                return
            if record is None:
                return
            self.seen += 1
            self.at = record.stream_pos
            yield record

    def _broken(self, breaks: int, damage: Exception) -> BadRecord:
        suffix = f":{breaks}" if breaks > 1 else ""
        key = f"{self.file.name}:broken{suffix}"
        return self._bad(f"{self.file.name}:{self.seen}", key, "broken_warc", damage)

    def _check_storage(self, stream: BinaryIO) -> None:
        """A lost file is no damaged archive; parsers wrap what their stream raises."""
        lost = getattr(getattr(stream, "raw", None), "lost", None)
        if lost is not None:
            raise lost

    def _record(self, record: WarcRecord) -> Iterator[Record | BadRecord]:
        kind = record.record_type
        if kind not in _PAGES:
            self.skipped[f"warc.{kind}"] += 1
            if kind == WarcRecordType.metadata:
                self.wat |= media_type(record.headers.get("Content-Type")) == "application/json"
            return
        url = (record.headers.get("WARC-Target-URI") or "").strip("<>") or None
        key = (record.record_id or "").strip("<>")
        place = url or key or self.file.name
        try:
            found = self._body(record)
        except (DamagedRecord, TooLarge) as error:
            code = "too_long" if isinstance(error, TooLarge) else "damaged_record"
            yield self._bad(place, key or f"{self.file.name}:{place}", code, error)
            return
        if found is not None:
            self.pages += 1
            body, content_type = found
            yield self._page(body, content_type, url, key or self.keys.key(body))

    def _page(
        self, body: bytes, content_type: str, url: str | None, key: str
    ) -> Record | BadRecord:
        charset = charset_of(content_type)
        name = self.source.source
        if media_type(content_type) in HTML_TYPES:
            return Record(id=key, key=key, source=name, url=url, html=body, charset=charset)
        try:
            text = decode(body, charset or self.source.encoding)
        except Undecodable as error:
            return BadRecord(id=url or key, key=key, source=name, reason=str(error))
        return Record(id=key, key=key, source=name, url=url, text=text)

    def _body(self, record: WarcRecord) -> tuple[bytes, str] | None:
        """The page's bytes and Content-Type; None for what is no page.

        Raises:
            DamagedRecord: the record is cut, or has no HTTP header.
            TooLarge: it is larger than a record may be.
        """
        limit = self.source.max_record_bytes
        try:
            block = record.reader.read(limit + 1)
        except Exception as error:  # as above: what the decoders raise
            raise DamagedRecord(str(error) or type(error).__name__) from error
        if record.record_type == WarcRecordType.conversion:
            response = Response(200, {"content-type": _type_of(record)}, block)
        else:
            response = parse_response(block)
        content_type = self._page_type(response)
        if content_type is None:
            return None
        if len(block) > limit:
            raise TooLarge(f"more than max_record_bytes ({limit})")
        if len(block) < record.content_length:
            raise DamagedRecord(f"{len(block)} of {record.content_length} bytes")
        return decoded_body(response, limit), content_type

    def _page_type(self, response: Response) -> str | None:
        """The Content-Type of a page; None, counted, for what is no page."""
        content_type = response.headers.get("content-type", "")
        if response.status != 200:
            self.skipped[f"warc.status_{response.status}"] += 1
        elif not content_type and looks_like_html(response.body):
            return HTML_TYPES[0]
        elif media_type(content_type) in PAGE_TYPES:
            return content_type
        else:
            self.skipped["warc.other_type" if content_type else "warc.no_type"] += 1
        return None

    def _bad(self, place: str, key: str, code: str, error: Exception) -> BadRecord:
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        return BadRecord(id=place, key=key, source=self.source.source, reason=f"{code}: {detail}")


def _type_of(record: WarcRecord) -> str:
    return record.headers.get("Content-Type") or ""
