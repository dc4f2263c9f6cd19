"""What a text needs done, from one look at all of its characters.

A table of 65,536 flags, indexed by UTF-16 code unit: some 2 ns per character, where a pattern with
the same classes takes 10 to 50.
"""

import unicodedata
from functools import lru_cache

import numpy as np

from corpus.normalise.characters import SPECIAL
from corpus.normalise.mojibake import CONTINUATION, LEAD

REPLACE, COMPOSE = 1, 2
"""Flags: it has a character of ``SPECIAL``; it may not be in NFC."""
GARBLED = 4
"""Flag: it has a pair of characters that wrongly decoded UTF-8 leaves."""
_FOLLOWS = 8
_JAMO = [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    table = np.zeros(1 << 16, np.uint8)
    for code in range(0x80, 1 << 16):
        character = chr(code)
        if SPECIAL.match(character):
            table[code] |= REPLACE
        if unicodedata.category(character)[0] == "M" or not unicodedata.is_normalized(
            "NFC", character
        ):
            table[code] |= COMPOSE
        if LEAD.match(character):
            table[code] |= GARBLED
        if CONTINUATION.match(character):
            table[code] |= _FOLLOWS
    table[_JAMO] |= COMPOSE
    table[0xD800:0xE000] |= COMPOSE  # a pair is a character beyond the table
    for code in range(0x80):
        if code != 0x0A and SPECIAL.match(chr(code)):
            table[code] |= REPLACE
    return table


def needs(text: str) -> int:
    """Flags ``REPLACE``, ``COMPOSE`` and ``GARBLED`` of a text, joined."""
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)
    flags = _table()[units]
    found = int(np.bitwise_or.reduce(flags)) if len(flags) else 0
    asked = found & (REPLACE | COMPOSE)
    if _has_surrogate_alone(units, found):
        asked |= REPLACE
    if found & GARBLED and found & _FOLLOWS:
        pairs = (flags[:-1] & GARBLED) & ((flags[1:] & _FOLLOWS) >> 1)
        asked |= GARBLED if pairs.any() else 0
    return asked


def _has_surrogate_alone(units: np.ndarray, found: int) -> bool:
    if not found & COMPOSE:
        return False
    high, low = units & 0xFC00 == 0xD800, units & 0xFC00 == 0xDC00
    return bool((high[:-1] != low[1:]).any() or low[:1].any() or high[-1:].any())
