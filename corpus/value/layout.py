"""Words and lines of a text as arrays: one pass that all measures share."""

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np

SPACE, NEWLINE, LOWER, UPPER, CJK, DIGIT, TERMINAL, MARK, SIGN, NOISE = range(10)
"""Classes of characters. MARK may stand around a plain word, SIGN may not, NOISE has no place
in prose."""

TERMINALS = '.!?"”…。！？」』'
"""C4's terminal marks (Raffel et al. 2020, arXiv:1910.10683: period, exclamation mark, question
mark, end quotation mark) and their Chinese and Japanese forms."""
MARKS = ",;:'()`*_“‘’«»、，；：（）《》「『—–"
NOISES = "|#<>=~^\\{}[]@+\ufffd"
_BMP = 1 << 16
_TRAILING_SPACES = 8


def character_class(character: str) -> int:
    """The class of one character: the table's slow definition."""
    code = ord(character)
    if character == "\n":
        return NEWLINE
    if character.isspace():
        return SPACE
    if character in TERMINALS:
        return TERMINAL
    if character in MARKS:
        return MARK
    if character in NOISES:
        return NOISE
    if is_cjk(code):
        return CJK
    if character.isdecimal():
        return DIGIT
    category = unicodedata.category(character)
    if category[0] in "LM":
        return UPPER if category in ("Lu", "Lt") else LOWER
    return NOISE if category[0] == "C" or category in ("So", "Sk") else SIGN


def is_cjk(code: int) -> bool:
    """Kana or Han: a script without spaces, whose characters count as words."""
    return (
        0x3041 <= code <= 0x30FA
        or 0x3400 <= code <= 0x4DBF
        or 0x4E00 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x3FFFF
    )


@cache
def _tables() -> tuple[bytes, np.ndarray]:
    """(classes of bytes for ASCII texts, classes of the basic plane, u8)."""
    table = np.array([character_class(chr(code)) for code in range(_BMP)], np.uint8)
    return table[:256].tobytes(), table


@dataclass(frozen=True)
class Layout:
    """Where words and lines are, and what they look like."""

    codes: np.ndarray
    """Code points, shape (characters,)."""
    classes: np.ndarray
    """Class of every character, u8, shape (characters,)."""
    starts: np.ndarray
    """First character of every word, shape (words,)."""
    plain: np.ndarray
    """Whether a word is one run of letters with nothing but marks around it, shape (words,)."""
    line_starts: np.ndarray
    """First character of every line, shape (lines,)."""
    line_ends: np.ndarray
    """One past the last character of every line, shape (lines,)."""
    line_words: np.ndarray
    """Words of every line, shape (lines,)."""
    line_plain: np.ndarray
    """Plain words of every line, shape (lines,)."""

    @property
    def words(self) -> int:
        """Number of words."""
        return len(self.starts)

    def ended(self) -> np.ndarray:
        """Whether a line's last character is a terminal mark, shape (lines,)."""
        last = self.line_ends - 1
        for _ in range(_TRAILING_SPACES):
            blank = (last >= self.line_starts) & (self.classes[np.maximum(last, 0)] == SPACE)
            if not blank.any():
                break
            last = last - blank
        return (last >= self.line_starts) & (self.classes[np.maximum(last, 0)] == TERMINAL)


def layout(text: str) -> Layout:
    """Cut a text into words and lines.

    A word starts after a space, at every Han or kana character, and where letters or digits
    follow one; signs stay with the word before them.
    """
    codes, classes = _classes(text)
    solid = classes > NEWLINE
    letter = (classes >= LOWER) & (classes <= CJK)
    cjk = classes == CJK
    first = solid.copy()
    first[1:] &= ~solid[:-1] | cjk[1:] | (cjk[:-1] & (classes[1:] <= DIGIT))
    starts = np.flatnonzero(first)
    new_run = letter.copy()
    new_run[1:] &= ~letter[:-1] | first[1:]
    odd = (classes == DIGIT) | (classes >= SIGN)
    seen = new_run.view(np.uint8) + (odd.view(np.uint8) << 4)
    plain = np.add.reduceat(seen, starts, dtype=np.int32) == 1 if len(starts) else first[:0]
    breaks = np.flatnonzero(classes == NEWLINE)
    line_starts = np.concatenate([[0], breaks + 1])
    line_ends = np.concatenate([breaks, [len(classes)]])
    bounds = np.append(np.searchsorted(starts, line_starts), len(starts))
    good = np.concatenate([[0], np.cumsum(plain)])
    return Layout(
        codes,
        classes,
        starts,
        plain,
        line_starts,
        line_ends,
        np.diff(bounds),
        np.diff(good[bounds]),
    )


def _classes(text: str) -> tuple[np.ndarray, np.ndarray]:
    ascii_table, table = _tables()
    if text.isascii():
        raw = text.encode()
        return np.frombuffer(raw, np.uint8), np.frombuffer(raw.translate(ascii_table), np.uint8)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    if int(codes.max()) < _BMP:
        return codes, table[codes]
    classes = table[np.minimum(codes, _BMP - 1)]
    classes[codes >= _BMP] = NOISE
    classes[(codes >= 0x20000) & (codes < 0x40000)] = CJK
    return codes, classes
