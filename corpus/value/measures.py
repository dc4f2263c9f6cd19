"""Model-free score columns of a text: how clean it is, and how dense.

``docs/corpus/value.md`` states each formula with its source.
"""

import math
from functools import cache
from typing import Any

import numpy as np

from corpus.value.layout import (
    CJK,
    DIGIT,
    LOWER,
    NEWLINE,
    NOISE,
    SPACE,
    TERMINAL,
    UPPER,
    Layout,
    layout,
)
from corpus.value.names import MEASURES
from corpus.value.prose import prose_lines

SHORT_LINE_CHARS = 30
COMPRESSION_LEVEL = 3
COMPRESSION_BYTES = 1 << 16
VARIETY_WORDS = 1000
CAPITALISED_NOUNS = ("de", "lb")
"""Languages in which a capital inside a sentence names nothing."""
_ONE, _TWO, _NAUGHT = (ord(digit) for digit in "120")


def measure(text: str, language: str) -> dict[str, float]:
    """The columns ``MEASURES``, each in [0, 1] but the densities, which count per word."""
    cut = layout(text)
    if cut.words == 0:
        return dict.fromkeys(MEASURES, 0.0)
    values = _text_quality(cut) | _density(text, cut, language)
    return {name: values[name] for name in MEASURES}


def _text_quality(cut: Layout) -> dict[str, float]:
    ended = cut.ended()
    filled = cut.line_words > 0
    short = (cut.line_ends - cut.line_starts < SHORT_LINE_CHARS) & ~ended & filled
    classes = np.bincount(cut.classes, minlength=NOISE + 1)
    return {
        "prose_share": float(cut.line_words[prose_lines(cut)].sum() / cut.words),
        "ended_share": float(cut.line_words[ended].sum() / cut.words),
        "noise_share": float(classes[NOISE] / classes[LOWER:].sum()),
        "debris_share": float(short.sum() / filled.sum()),
    }


def _density(text: str, cut: Layout, language: str) -> dict[str, float]:
    numbers, dates = _numbers_and_dates(cut)
    names = 0 if language in CAPITALISED_NOUNS else _names(cut)
    return {
        "compression": _compression(text),
        "lexical_variety": _lexical_variety(text, cut),
        "numbers_per_token": numbers / cut.words,
        "names_per_token": names / cut.words,
        "dates_per_token": dates / cut.words,
        "facts_per_token": (numbers + names + dates) / cut.words,
    }


def _compression(text: str) -> float:
    """Compressed bytes over bytes of the start of a text, at most 1."""
    head = text[:COMPRESSION_BYTES].encode("utf-8", "surrogatepass")[:COMPRESSION_BYTES]
    return min(len(_compressor().compress(head)) / len(head), 1.0)


@cache
def _compressor() -> Any:
    import zstandard

    return zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)


def _lexical_variety(text: str, cut: Layout) -> float:
    """Herdan's C of the first words: log(distinct words) / log(words)."""
    count = min(cut.words, VARIETY_WORDS)
    if count < 2:
        return 1.0
    ends = np.append(cut.starts[1 : count + 1], len(text))[:count]
    if (cut.classes[: ends[-1]] == CJK).any():
        edges = zip(cut.starts[:count].tolist(), ends.tolist(), strict=True)
        words = [text[start:end].strip().lower() for start, end in edges]
    else:
        words = text[: ends[-1]].lower().split()
    return math.log(len(set(words))) / math.log(len(words)) if len(words) > 1 else 1.0


def _names(cut: Layout) -> int:
    """Runs of capitalised words that do not open a sentence or a line."""
    classes, starts = cut.classes, cut.starts
    after = classes[np.minimum(starts + 1, len(classes) - 1)]
    capital = np.flatnonzero((classes[starts] == UPPER) & (after == LOWER))
    before, earlier = classes[starts[capital] - 1], classes[starts[capital] - 2]
    inside = (before == SPACE) & (earlier > NEWLINE) & (earlier != TERMINAL)
    found = capital[inside & (starts[capital] > 1)]
    return len(found) - int(np.count_nonzero(np.diff(found) == 1))


def _numbers_and_dates(cut: Layout) -> tuple[int, int]:
    """(words with a number other than a year, years from 1000 to 2099)."""
    digits = np.flatnonzero(cut.classes == DIGIT)
    if len(digits) == 0:
        return 0, 0
    edges = np.flatnonzero(np.diff(digits) > 1)
    first = digits[np.concatenate([[0], edges + 1])]
    lengths = digits[np.concatenate([edges, [len(digits) - 1]])] - first + 1
    second = cut.codes[np.minimum(first + 1, len(cut.codes) - 1)]
    century = (cut.codes[first] == _ONE) | ((cut.codes[first] == _TWO) & (second == _NAUGHT))
    year = (lengths == 4) & century
    words = np.searchsorted(cut.starts, first[~year], side="right")
    return len(np.unique(words)), int(year.sum())
