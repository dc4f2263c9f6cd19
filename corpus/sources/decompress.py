"""Streams of bytes out of plain and compressed files, in pieces of bounded size."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import zstandard

STREAM_ERRORS = (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, ValueError)
"""What damaged data raises here (storage raises CorpusError)."""
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
_PIECE = 1 << 20
_SMALLEST_FEED = 1 << 10
_LARGEST_FEED = 1 << 18


def pieces(raw: BinaryIO, name: str) -> Iterator[bytes]:
    """The unpacked bytes of a file, by its ending; members and frames that follow each other
    are one stream.

    Raises:
        STREAM_ERRORS: the data are damaged, or the last member is cut short; all that could
            be unpacked before was yielded.
    """
    if name.endswith(".zst"):
        return _zstd(raw)
    for ending, make in _MAKERS.items():
        if name.endswith(ending):
            return _members(raw, make)
    return _plain(raw)


@contextmanager
def open_text(
    path: Path, encoding: str = "utf-8", errors: str = "strict", newline: str | None = ""
) -> Iterator[TextIO]:
    """The text of a plain or compressed file; arguments as ``open`` takes them.

    Raises:
        STREAM_ERRORS: while it is read, as ``pieces`` says.
    """
    with path.open("rb") as raw:
        buffered = io.BufferedReader(_Pieces(pieces(raw, path.name)), _PIECE)
        yield io.TextIOWrapper(buffered, encoding, errors, newline)


class _Pieces(io.RawIOBase):
    """A raw stream over pieces of bytes."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source, self._left = source, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._source, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


def _plain(raw: BinaryIO) -> Iterator[bytes]:
    while piece := raw.read(_PIECE):
        yield piece


def _gzip() -> Any:
    return zlib.decompressobj(wbits=31)


_MAKERS: dict[str, Callable[[], Any]] = {
    ".gz": _gzip,
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lzma.LZMADecompressor,
}


def _members(raw: BinaryIO, make: Callable[[], Any]) -> Iterator[bytes]:
    member = None
    while chunk := raw.read(_PIECE):
        while chunk:
            if member is None:
                chunk = chunk.lstrip(b"\0")  # padding between members
                if not chunk:
                    break
                member = make()
            yield from _unpacked(member, chunk)
            chunk = member.unused_data if member.eof else b""
            member = None if member.eof else member
    if member is not None:
        raise EOFError("the last compressed member is cut short")


def _unpacked(member: Any, chunk: bytes) -> Iterator[bytes]:
    """All that ``chunk`` gives, at most _PIECE bytes at once."""
    piece = member.decompress(chunk, _PIECE)
    while piece:
        yield piece
        if member.eof:
            return
        rest = getattr(member, "unconsumed_tail", b"")  # zlib; the others keep it inside
        if not rest and getattr(member, "needs_input", True) and len(piece) < _PIECE:
            return
        piece = member.decompress(rest, _PIECE)


def _zstd(raw: BinaryIO) -> Iterator[bytes]:
    """Frames one after the other.

    zstandard's own stream reader takes a cut frame for the end of the file; its decompressor
    has no limit on what it returns, so it is fed by how much the last bytes gave.
    """
    frame = None
    feed = _SMALLEST_FEED
    while chunk := raw.read(feed):
        while chunk:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            piece = frame.decompress(chunk)
            feed = _next_feed(feed, len(piece))
            if piece:
                yield piece
            chunk = frame.unused_data
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("the last zstd frame is cut short")


def _next_feed(feed: int, unpacked: int) -> int:
    if unpacked > 4 * _PIECE:
        return max(feed // 8, _SMALLEST_FEED)
    return min(feed * 2, _LARGEST_FEED) if unpacked < _PIECE else feed
