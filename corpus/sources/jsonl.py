"""JSON Lines: plain, gzip or Zstandard."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import zstandard

from corpus.sources.config import FilesSource
from corpus.sources.fields import record_of
from corpus.sources.keys import ContentKeys
from corpus.sources.record import BadRecord, Record, ShardFile

STREAM_ERRORS = (OSError, EOFError, zlib.error, zstandard.ZstdError)
_CHUNK = 1 << 20


def read_jsonl(source: FilesSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """One record per line. A bad line is one bad record; a broken stream ends the file."""
    keys = ContentKeys()
    number = 0
    try:
        with _open(file.path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _parse(source, file, keys, line, number)
    except STREAM_ERRORS as error:
        yield BadRecord(
            id=f"{file.name}:{number + 1}",
            key=f"{file.name}:broken",
            source=source.source,
            reason=f"broken_stream: {error}",
        )


def _parse(
    source: FilesSource, file: ShardFile, keys: ContentKeys, line: bytes, number: int
) -> Record | BadRecord:
    place = f"{file.name}:{number}"
    try:
        values = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        reason = f"not_utf8: byte {error.start}"
    except (json.JSONDecodeError, RecursionError) as error:
        reason = f"bad_json: {error}"
    else:
        return record_of(source, values, place, keys)
    return BadRecord(id=place, key=keys.key(line), source=source.source, reason=reason)


@contextmanager
def _open(path: str) -> Iterator[Iterable[bytes]]:
    with open(path, "rb") as raw:
        if path.endswith(".zst"):
            yield _zstd_lines(raw)
        elif path.endswith(".gz"):
            with gzip.open(raw) as unpacked:
                yield unpacked
        else:
            yield raw


def _zstd_lines(raw: BinaryIO) -> Iterator[bytes]:
    """Lines of all frames. Raises EOFError where a frame is cut short.

    zstandard's own stream reader takes a cut frame for the end of the file.
    """
    rest = b""
    for piece in _zstd_pieces(raw):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _zstd_pieces(raw: BinaryIO) -> Iterator[bytes]:
    frame = None
    while chunk := raw.read(_CHUNK):
        while chunk:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(chunk)
            chunk = frame.unused_data
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("the last zstd frame is cut short")
