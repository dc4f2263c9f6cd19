"""Lines out of pieces of bytes; a line of any length takes bounded memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blake3 import blake3


@dataclass(frozen=True)
class TooLong:
    """A line that was skipped, as it has more bytes than a record may have."""

    bytes: int
    blake3: str
    """Of its content: names it wherever it stands."""


def lines(pieces: Iterable[bytes], max_bytes: int) -> Iterator[bytes | TooLong]:
    """Every line without its end; one longer than ``max_bytes`` comes as TooLong.

    A last line without an end is a line too.
    """
    line = _Line(max_bytes)
    for piece in pieces:
        first, *others = piece.split(b"\n")
        line.add(first)
        if not others:
            continue
        yield line.take()
        last = others.pop()
        for whole in others:
            yield whole if len(whole) <= max_bytes else TooLong(len(whole), _hash(whole))
        line.add(last)
    if line.size:
        yield line.take()


class _Line:
    """A line that comes in pieces; beyond its limit only its hash is kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._start()

    def _start(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        self._hasher: blake3 | None = None

    def add(self, part: bytes) -> None:
        self.size += len(part)
        self._parts.append(part)
        if self.size > self._max:
            self._hasher = self._hasher or blake3()
            for waiting in self._parts:
                self._hasher.update(waiting)
            self._parts = []

    def take(self) -> bytes | TooLong:
        """The line; the next one begins."""
        if self._hasher is None:
            made: bytes | TooLong = b"".join(self._parts)
        else:
            made = TooLong(self.size, self._hasher.hexdigest())
        self._start()
        return made


def _hash(line: bytes) -> str:
    return blake3(line).hexdigest()


def within(pieces: Iterable[bytes], start: int, end: int | None) -> Iterator[bytes]:
    """The lines that begin in ``start:end`` of a file, as pieces, each with whole lines only.

    ``pieces`` are the file's bytes from ``start - 1`` on (from 0 where ``start`` is 0): the
    first line is whole only where the byte before it ends one.
    """
    inside = start == 0
    at = start - 1 if start else 0
    for piece in pieces:
        begin = at
        at += len(piece)
        if not inside:
            cut = piece.find(b"\n")
            if cut < 0:
                continue
            inside = True
            begin += cut + 1
            piece = piece[cut + 1 :]
            if end is not None and begin >= end:
                return
        if end is not None and at >= end:
            yield from _until(piece, begin, end)
            if _ended(piece, begin, end):
                return
            continue
        yield piece


def _ended(piece: bytes, begin: int, end: int) -> bool:
    return piece.find(b"\n", max(end - 1 - begin, 0)) >= 0


def _until(piece: bytes, begin: int, end: int) -> Iterator[bytes]:
    """What of ``piece`` belongs to lines that begin before ``end``."""
    cut = piece.find(b"\n", max(end - 1 - begin, 0))
    yield piece if cut < 0 else piece[: cut + 1]
