"""What the rules measure, computed once per document and only when a rule asks.

``unit`` says what a word is. ``word``: a run of non-space characters, as in the papers on
English. ``character``: for scripts written without spaces; each Han or kana character is a word,
and so is each run of other non-space characters between them.
"""

from collections import Counter
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from contracts.ngrams import (
    CODE_POINTS,
    WHOLE,
    code_points,
    find_words,
    hash_runs,
    mix,
    runs,
)
from corpus.rules.configs.unit import Unit
from corpus.rules.repetition import duplicate_shares

SPACE, ALPHA, DIGIT, UPPER, HAN, WORD = 1, 2, 4, 8, 16, 32
"""Bits of a character's kind; HAN is ideographs alone, WORD letters, digits and ``_``."""
_STOP_WORD_BLOCK = 4096
_HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))


class Tokens(NamedTuple):
    """Words without punctuation, for repetition; all of shape (tokens,)."""

    hashes: np.ndarray
    lengths: np.ndarray
    """Characters, i64."""


class Statistics:
    """Lazily computed figures of one text."""

    def __init__(self, text: str, unit: Unit = "word") -> None:
        self.text = text
        self.unit = unit

    @cached_property
    def codes(self) -> np.ndarray:
        """Code points, clipped to those with a kind; shape (characters,)."""
        return np.minimum(code_points(self.text), np.uint32(CODE_POINTS - 1))

    @cached_property
    def kinds(self) -> np.ndarray:
        """Kind bits of each character, u8."""
        return _kinds()[self.codes]

    def share(self, kind: int) -> float:
        """Share of characters of a kind; 0 for an empty text."""
        return float(np.count_nonzero(self.kinds & kind)) / max(len(self.text), 1)

    @cached_property
    def words(self) -> tuple[np.ndarray, np.ndarray]:
        """(starts, ends) of the words of this unit."""
        classes = (self.kinds & SPACE) ^ 1  # PART is 1, SEPARATOR 0
        if self.unit == "character":
            classes[find_single(self.codes)] = WHOLE
        return runs(classes)

    @cached_property
    def num_words(self) -> int:
        """Words of this unit."""
        return len(self.words[0])

    @cached_property
    def mean_word_length(self) -> float:
        """Characters a word."""
        starts, ends = self.words
        return float((ends - starts).sum()) / max(len(starts), 1)

    @cached_property
    def max_word_length(self) -> int:
        """Characters of the longest word."""
        starts, ends = self.words
        return int((ends - starts).max(initial=0))

    @cached_property
    def alphabetic_words(self) -> float:
        """Share of words with a letter."""
        starts, _ = self.words
        if not len(starts):
            return 0.0
        return float(np.count_nonzero(np.bitwise_or.reduceat(self.kinds, starts) & ALPHA)) / len(
            starts
        )

    @cached_property
    def lines(self) -> list[str]:
        """Lines that are not empty, stripped."""
        return [line for line in map(str.strip, self.text.splitlines()) if line]

    @cached_property
    def paragraphs(self) -> list[str]:
        """What empty lines separate, stripped."""
        return [part for part in map(str.strip, self.text.split("\n\n")) if part]

    @cached_property
    def duplicate_lines(self) -> tuple[float, float]:
        """Share of lines seen before, and of characters in them."""
        return duplicate_shares(self.lines)

    @cached_property
    def duplicate_paragraphs(self) -> tuple[float, float]:
        """Share of paragraphs seen before, and of characters in them."""
        return duplicate_shares(self.paragraphs)

    @cached_property
    def token_runs(self) -> tuple[np.ndarray, np.ndarray]:
        """(starts, ends) of words without punctuation: runs of letters, digits and ``_``, or
        single characters.
        """
        classes = (self.kinds & WORD) >> 5  # PART is 1, SEPARATOR 0
        if self.unit == "character":
            classes[find_single(self.codes)] = WHOLE
        return runs(classes)

    @cached_property
    def tokens(self) -> Tokens:
        """Those words by their hashes and lengths."""
        starts, ends = self.token_runs
        return Tokens(hash_runs(_values()[self.codes], starts, ends), ends - starts)

    @cached_property
    def stop_word_counts(self) -> Counter[str]:
        """How often each word occurs, lower-cased; for calibration, slow."""
        words = find_words(self.text)
        pairs = zip(words.starts.tolist(), words.ends.tolist(), strict=True)
        return Counter(self.text[start:end].lower() for start, end in pairs)

    def stop_words(self, wanted: frozenset[str], enough: int) -> int:
        """Different words of ``wanted`` in the text; stops counting at ``enough``."""
        found: set[str] = set()
        place = 0
        while place < len(self.text) and len(found) < enough:
            end = self._block_end(place + _STOP_WORD_BLOCK)
            block = self.text[place:end].lower()
            seen = set(block) if self.unit == "character" else set(block.split())
            found |= wanted & seen
            place = end
        return len(found)

    def _block_end(self, end: int) -> int:
        """The next space at or after ``end``, so that no word is cut."""
        while end < len(self.text) and not self.text[end].isspace() and self.unit == "word":
            end += 1
        return min(end, len(self.text))


def find_single(codes: np.ndarray) -> np.ndarray:
    """Which characters are words of their own, bool."""
    return _single()[codes]


@lru_cache(maxsize=1)
def _single() -> np.ndarray:
    single = np.zeros(CODE_POINTS, bool)
    for first, last in (*_HAN, (0x3040, 0x30FF), (0x0E00, 0x0EFF), (0x1000, 0x109F)):
        single[first : last + 1] = True
    return single


@lru_cache(maxsize=1)
def _values() -> np.ndarray:
    """u64 that stands for each code point in hashes; upper and lower case differ."""
    return mix(np.arange(1, CODE_POINTS + 1, dtype=np.uint64))


@lru_cache(maxsize=1)
def _kinds() -> np.ndarray:
    kinds = np.zeros(CODE_POINTS, np.uint8)
    for code in range(CODE_POINTS - 1):
        char = chr(code)
        alphabetic = char.isalpha()
        kinds[code] = (
            SPACE * char.isspace()
            | ALPHA * alphabetic
            | DIGIT * char.isdigit()
            | UPPER * char.isupper()
            | WORD * (alphabetic or char.isalnum() or char == "_")
        )
    for first, last in _HAN:
        kinds[first : last + 1] |= HAN
    return kinds
