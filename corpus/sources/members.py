"""Finds where a damaged archive of gzip members can be read on."""

import zlib
from typing import BinaryIO

_MAGIC = b"\x1f\x8b\x08"
_READ = 1 << 20
_TRIED = 1 << 12


def next_gzip_member(stream: BinaryIO, start: int, opening: bytes) -> int | None:
    """Where, from byte ``start`` on, the next member begins whose content opens so.

    Three bytes of magic stand in compressed data by chance; the content's opening does not.
    """
    at = start
    while True:
        stream.seek(at)
        piece = stream.read(_READ)
        if len(piece) < len(_MAGIC):
            return None
        found = piece.find(_MAGIC)
        while found >= 0:
            if _opens(stream, at + found, opening):
                return at + found
            found = piece.find(_MAGIC, found + 1)
        at += len(piece) - len(_MAGIC) + 1


def _opens(stream: BinaryIO, at: int, opening: bytes) -> bool:
    stream.seek(at)
    member = zlib.decompressobj(wbits=31)
    try:
        return member.decompress(stream.read(_TRIED), len(opening)).startswith(opening)
    except zlib.error:
        return False
