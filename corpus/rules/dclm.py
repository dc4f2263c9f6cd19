"""RefinedWeb's line-wise corrections as DCLM has them (arXiv:2306.01116 G.2, 2406.11794)."""

import re
from collections import Counter
from functools import lru_cache

from corpus.rules.configs.dclm import DclmConfig
from corpus.rules.statistics import Statistics
from corpus.rules.verdict import Rejection


def clean(text: str, config: DclmConfig, dropped: Counter[str]) -> str:
    """The text without the lines that RefinedWeb drops; counts them by reason in ``dropped``."""
    kept = []
    for line in text.split("\n"):
        reason = line_reason(line, config) if line.strip() else ""
        if reason:
            dropped[reason] += 1
        else:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def line_reason(line: str, config: DclmConfig) -> str:
    """Why a line goes, or nothing."""
    words = len(line.split())
    if not line.islower() and upper_share(line) > config.max_upper_line:
        return "upper_case"
    if words < config.min_line_words and (line.isascii() or len(line) < 2 * config.min_line_words):
        return "few_words"
    if config.max_digit_line < 1 and digit_share(line) > config.max_digit_line:
        return "digits"
    if words > config.short_line_words:
        return ""
    lower = line.lower()
    if config.counters and is_counter(lower, config.counters):
        return "counter"
    if lower.startswith(config.prefixes) or lower.endswith(config.suffixes):
        return "phrase"
    return "phrase" if any(phrase in lower for phrase in config.phrases) else ""


def upper_share(line: str) -> float:
    """Share of a line's characters that are upper case."""
    return sum(map(str.isupper, line)) / max(len(line), 1)


def digit_share(line: str) -> float:
    """Share of a line's characters that are digits."""
    return sum(map(str.isdigit, line)) / max(len(line), 1)


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
