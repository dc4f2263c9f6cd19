"""Words, word n-grams and their 64-bit hashes, computed over whole texts at once.

What counts as one word, for everyone who compares texts (decontamination, contamination
reports): a run of letters and digits, after full-width forms are made plain and everything is
in lower case; punctuation only separates. A character of a script that is written without
spaces (Han, kana, Thai, Lao, Khmer, Burmese) is a word of its own.

A word's hash is a polynomial over its characters modulo 2^64, each character first replaced by
a random-looking 64-bit value; an n-gram's is a polynomial over its words' hashes (Karp and Rabin
1987, "Efficient randomized pattern-matching algorithms"). Two different n-grams meet with a
probability near 2^-64, so among M n-grams looked up in an index of N some false hit is expected
with M * N / 2^64: 3e-5 for a corpus of 10^8 words against 5 * 10^6 n-grams. Who must not err
compares the words themselves (:func:`word_list`).
"""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np

CODE_POINTS = 0x32400
"""Code points that the tables cover: all letters that are assigned. What lies above is no word."""
SEPARATOR, PART, WHOLE = 0, 1, 2
"""Classes of a character: between words, part of a word, a word of its own."""
_NO_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_STEP = np.uint64(0xD6E8FEB86659FD93)
_POSITIONS = 256


class Words(NamedTuple):
    """The words of a text, in order; all of shape (words,)."""

    starts: np.ndarray
    """First character of each word, as an offset into the text, i64."""
    ends: np.ndarray
    """One past its last character."""
    hashes: np.ndarray
    """u64."""


def code_points(text: str) -> np.ndarray:
    """Code points of a text, u32, shape (characters,); lone surrogates stay themselves."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def mix(values: np.ndarray) -> np.ndarray:
    """Spread u64 values over all bits: the finaliser of splitmix64 (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def find_words(text: str) -> Words:
    """The words of a text with their hashes."""
    codes = np.minimum(code_points(text), np.uint32(CODE_POINTS - 1))
    classes, values, _ = _tables()
    starts, ends = runs(classes[codes])
    return Words(starts, ends, hash_runs(values[codes], starts, ends))


def word_list(text: str) -> list[str]:
    """The same words as strings: what hits are confirmed by."""
    _, _, folded = _tables()
    codes = np.minimum(code_points(text), np.uint32(CODE_POINTS - 1))
    plain = folded[codes].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
    words = find_words(text)
    return [
        plain[start:end]
        for start, end in zip(words.starts.tolist(), words.ends.tolist(), strict=True)
    ]


def runs(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(starts, ends) of the words in a text whose characters have these classes (u8)."""
    inside = classes != SEPARATOR
    joined = np.zeros(len(classes) + 1, bool)  # character i belongs to the word of i - 1
    joined[1:-1] = (classes[1:] == PART) & (classes[:-1] == PART)
    starts = np.flatnonzero(inside & ~joined[:-1])
    return starts, np.flatnonzero(inside & ~joined[1:]) + 1


def hash_runs(values: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """u64 hash of each run of characters; runs are in order and do not overlap.

    Args:
        values: u64 value of each character, shape (characters,).
        starts: first character of each run, shape (runs,).
        ends: one past its last.
    """
    if not len(starts):
        return np.zeros(0, np.uint64)
    lengths = ends - starts
    firsts = np.cumsum(lengths) - lengths
    index = np.arange(firsts[-1] + lengths[-1]) - np.repeat(firsts, lengths)
    weighted = values[index + np.repeat(starts, lengths)] * _powers()[index & (_POSITIONS - 1)]
    return mix(np.add.reduceat(weighted, firsts) + lengths.astype(np.uint64) * _STEP)


def ngram_hashes(hashes: np.ndarray, n: int) -> np.ndarray:
    """u64 hash of each run of n words, shape (words - n + 1,), or empty.

    Hashes of 2, 4, 8, ... words are doubled and put together to n: about 2 log2(n) passes.
    """
    if n < 1:
        raise ValueError(f"an n-gram needs at least one word, got n={n}")
    count = len(hashes) - n + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    block, size, power = hashes, 1, _STEP
    total, covered, total_power = None, 0, np.uint64(1)
    with np.errstate(over="ignore"):
        while True:
            if n & size:
                part = block[covered : covered + count]
                total = part if total is None else total + total_power * part
                covered += size
                total_power = total_power * power
            size *= 2
            if size > n:
                break
            half = size // 2
            block = block[:-half] + power * block[half:]
            power = power * power
    assert total is not None
    return mix(total)


@lru_cache(maxsize=1)
def _powers() -> np.ndarray:
    return np.cumprod(np.full(_POSITIONS, _BASE, np.uint64))


@lru_cache(maxsize=1)
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class (u8), hash value (u64) and folded code point (u32) of every code point."""
    folded = np.arange(CODE_POINTS, dtype=np.uint32)
    classes = np.zeros(CODE_POINTS, np.uint8)
    for code in range(CODE_POINTS):
        plain = _fold(chr(code))
        folded[code] = ord(plain)
        if plain.isalnum() or unicodedata.category(plain) in ("Mn", "Mc"):
            classes[code] = PART
    for first, last in _NO_SPACES:
        span = slice(first, last + 1)
        classes[span] = np.where(classes[span] == PART, WHOLE, SEPARATOR)
    classes[CODE_POINTS - 1] = SEPARATOR
    # Full-width letters take the class of what they fold to, half-width kana that of kana.
    classes = classes[folded]
    return classes, mix(folded.astype(np.uint64) + _BASE), folded


def _fold(char: str) -> str:
    """One character in lower case and of plain width, or itself where that is not one."""
    if unicodedata.east_asian_width(char) in "FH":
        plain = unicodedata.normalize("NFKC", char)
        char = plain if len(plain) == 1 else char
    lower = char.lower()
    return lower if len(lower) == 1 else char
