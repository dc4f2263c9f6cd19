"""What each Unicode character is to dedup: part of a word, a token by itself, space, nothing."""

import re
import sys
import unicodedata
from functools import lru_cache

import numpy as np

NOTHING, WORD, ALONE, SPACE, NEWLINE = range(5)
"""Kinds of characters. ``ALONE`` belongs to a script written without spaces."""

UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x109F),  # Tibetan, Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # CJK extension A
    (0x4E00, 0x9FFF),  # CJK
    (0xF900, 0xFAFF),  # CJK compatibility
    (0x20000, 0x323AF),  # CJK extensions B to H
)
"""First and last code points of blocks of scripts written without spaces (Unicode 15)."""

_SIZE = sys.maxunicode + 1


@lru_cache(maxsize=1)
def kinds() -> np.ndarray:
    """Kind of every code point, u8, shape (0x110000,)."""
    table = np.zeros(_SIZE, np.uint8)
    every = "".join(map(chr, range(_SIZE)))
    for found in re.finditer(r"\w+", every):
        table[found.start() : found.end()] = WORD
    for found in re.finditer(r"\s+", every):
        table[found.start() : found.end()] = SPACE
    table[ord("\n")] = NEWLINE
    for first, last in UNSPACED:
        for code in range(first, last + 1):
            if table[code] == WORD or unicodedata.category(every[code])[0] == "M":
                table[code] = ALONE
    return table


def code_points(text: str) -> np.ndarray:
    """The text's code points, u32, shape (characters,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
