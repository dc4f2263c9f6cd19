"""RefinedWeb's line-wise corrections as DCLM has them (arXiv:2306.01116 G.2, 2406.11794)."""

import re
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from corpus.rules.configs.dclm import DclmConfig
from corpus.rules.configs.unit import Unit
from corpus.rules.statistics import DIGIT, UPPER, Statistics
from corpus.rules.verdict import Rejection

_NEWLINE = 10
_REASONS = ("", "upper_case", "few_words", "digits")
_MANY_EMPTY = re.compile(r"\n{3,}")


def clean(text: str, config: DclmConfig, dropped: Counter[str], unit: Unit = "word") -> str:
    """The text without the lines that RefinedWeb drops; counts them by reason in ``dropped``."""
    measured = _Lines.of(text, unit)
    reasons = measured.reasons(config)
    short = (measured.words > 0) & (measured.words <= config.short_line_words)
    suspects = np.flatnonzero((reasons > 0) | short)
    if not len(suspects):
        return text
    lines = text.split("\n")
    going = set()
    known = (
        reasons[suspects].tolist(),
        short[suspects].tolist(),
        measured.digits[suspects].tolist(),
    )
    for number, code, is_short, digits in zip(suspects.tolist(), *known, strict=True):
        reason = _REASONS[code]
        if not reason and is_short:
            reason = _phrase_reason(lines[number], digits > 0, config)
        if reason:
            dropped[reason] += 1
            going.add(number)
    if not going:
        return text
    kept = [line for number, line in enumerate(lines) if number not in going]
    return _MANY_EMPTY.sub("\n\n", "\n".join(kept)).strip()


class _Lines(NamedTuple):
    """Counts per line, empty lines included; all of shape (lines,)."""

    chars: np.ndarray
    upper: np.ndarray
    digits: np.ndarray
    words: np.ndarray

    @classmethod
    def of(cls, text: str, unit: Unit) -> "_Lines":
        stats = Statistics(text, unit)
        ends = np.append(np.flatnonzero(stats.codes == _NEWLINE), len(stats.codes))
        starts = np.append(0, ends[:-1] + 1)
        word_starts, _ = stats.words
        words = np.diff(np.searchsorted(word_starts, np.append(starts, len(stats.codes))))
        return cls(
            chars=ends - starts,
            upper=_count(stats.kinds & UPPER, starts, ends),
            digits=_count(stats.kinds & DIGIT, starts, ends),
            words=words,
        )

    def reasons(self, config: DclmConfig) -> np.ndarray:
        """Why each line goes by its counts, as a place in ``_REASONS``; 0 where it stays."""
        found = np.zeros(len(self.words), np.int8)
        found[self.digits > config.max_digit_line * self.chars] = 3
        found[self.words < config.min_line_words] = 2
        found[self.upper > config.max_upper_line * self.chars] = 1
        found[self.words == 0] = 0
        return found


def _count(kinds: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    sums = np.concatenate(([0], np.cumsum(kinds > 0)))
    return sums[ends] - sums[starts]


def _phrase_reason(line: str, has_digits: bool, config: DclmConfig) -> str:
    """Why a short line goes by what it says, or nothing."""
    lower = line.lower()
    if has_digits and config.counters and is_counter(lower, config.counters):
        return "counter"
    if lower.startswith(config.prefixes) or lower.endswith(config.suffixes):
        return "phrase"
    return "phrase" if any(phrase in lower for phrase in config.phrases) else ""


def is_counter(lower: str, nouns: tuple[str, ...]) -> bool:
    """Whether a line only counts, as ``3 likes`` and ``1.2k views`` do."""
    return bool(_counter(nouns).match(lower))


def dclm(stats: Statistics, config: DclmConfig) -> Rejection | None:
    """Judge a document by how many stop words it has, each occurrence counted."""
    if not config.enabled or stats.unit != "word" or not config.min_stop_words:
        return None
    found = 0
    for word in stats.text.lower().split():
        found += word in _STOP_WORDS
        if found >= config.min_stop_words:
            return None
    return Rejection("too_few_stop_words", found)


_STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})


@lru_cache
def _counter(nouns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\W*\d[\d,.]*[kmb]?\s+(?:{'|'.join(map(re.escape, nouns))})\W*$")
