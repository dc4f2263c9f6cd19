"""JSON Lines: plain, gzip, Zstandard, bzip2 or xz; whole files or byte ranges of large ones."""

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import orjson

from corpus.sources.config import FilesSource
from corpus.sources.decompress import STREAM_ERRORS, pieces
from corpus.sources.fields import record_of
from corpus.sources.keys import ContentKeys
from corpus.sources.lines import TooLong, lines, within
from corpus.sources.record import BadRecord, Record, ShardFile
from corpus.sources.storage import Opened

_OPEN_ARRAY = "json_array: the file is one JSON array; write one object per line instead"
_ARRAY = "json_array: the first line is a JSON array; write one object per line instead"

Row = Callable[[Any, str], Record | BadRecord]
"""From a parsed line and its place to a record."""


def read_jsonl(source: FilesSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """One record per line. A bad line is one bad record; a broken stream ends the file.

    Raises:
        CorpusError: the file vanished, changed or could not be read.
    """
    keys = ContentKeys()
    yield from read_rows(source, file, keys, lambda row, at: record_of(source, row, at, keys))


def read_rows(
    source: FilesSource, file: ShardFile, keys: ContentKeys, make: Row
) -> Iterator[Record | BadRecord]:
    """``make`` of every line's value; what is none is a bad record."""
    with Opened(source, file) as stream:
        if file.start:
            stream.seek(file.start - 1)
        for number, line in enumerate(_lines(source, file, stream), 1):
            if isinstance(line, TooLong):
                yield _too_long(source, file, keys, number, line)
            elif isinstance(line, Exception):
                yield BadRecord(
                    id=_place(file, number),
                    key=f"{file.name}:broken",
                    source=source.source,
                    reason=f"broken_stream: {line}",
                )
            elif line and not line.isspace():
                made = _parse(source, file, keys, line, number, make)
                yield made
                if isinstance(made, BadRecord) and made.reason == _OPEN_ARRAY:
                    return


def _lines(
    source: FilesSource, file: ShardFile, stream: BinaryIO
) -> Iterator[bytes | TooLong | Exception]:
    """The lines of a file or its part; last the error, where damage ended them."""
    try:
        unpacked = pieces(stream, file.name)
        if file.start or file.end is not None:
            unpacked = within(unpacked, file.start, file.end)
        yield from lines(unpacked, source.max_record_bytes)
    except STREAM_ERRORS as error:
        yield error


def _parse(
    source: FilesSource,
    file: ShardFile,
    keys: ContentKeys,
    line: bytes,
    number: int,
    make: Row,
) -> Record | BadRecord:
    place = _place(file, number)
    try:
        values = _value(source, line, number)
    except UnicodeDecodeError as error:
        reason = f"not_utf8: byte {error.start}"
    except (ValueError, RecursionError) as error:  # ValueError: an integer of 5,000 digits
        reason = f"bad_json: {error}"
        if number == 1 and not file.start and line.lstrip()[:1] == b"[":
            reason = _OPEN_ARRAY
    else:
        if isinstance(values, list) and number == 1 and not file.start:
            reason = _ARRAY
        else:
            try:
                return make(values, place)
            except RecursionError:  # orjson goes deeper than Python's own recursion
                reason = "bad_json: nested too deeply"
    return BadRecord(id=place, key=keys.key(line), source=source.source, reason=reason)


def _value(source: FilesSource, line: bytes, number: int) -> Any:
    """The line's value.

    orjson is twice as fast; what it refuses, json may take (NaN, lone surrogates), or says
    what is wrong and where.
    """
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    if isinstance(values, dict) and isinstance(values.get(source.id_field), float):
        return json.loads(line)  # orjson makes a float of an integer beyond 64 bits
    return values


def _too_long(
    source: FilesSource, file: ShardFile, keys: ContentKeys, number: int, line: TooLong
) -> BadRecord:
    return BadRecord(
        id=_place(file, number),
        key=keys.key(line.blake3),
        source=source.source,
        reason=f"too_long: a line of {line.bytes} bytes; max_record_bytes is "
        f"{source.max_record_bytes}",
    )


def _place(file: ShardFile, number: int) -> str:
    """``FILE:LINE``; in a part of a file the line is counted from the part's first byte."""
    return f"{file.name}@{file.start}:{number}" if file.start else f"{file.name}:{number}"
