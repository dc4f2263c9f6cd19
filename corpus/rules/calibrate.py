"""Writes a profile of the rules for a language from documents that are known to be good.

Every threshold is a quantile of the sample: a share ``tail`` of it would fall to that threshold
alone. FineWeb-2 (arXiv:2506.20920) sets its thresholds for many languages from the distribution
of each statistic too. Stop words are the sample's commonest words.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from blake3 import blake3

from corpus.errors import CorpusError
from corpus.rules import curator as curator_rules
from corpus.rules.config import Profile
from corpus.rules.configs.unit import Unit
from corpus.rules.fineweb import newlines_per_word, short_lines
from corpus.rules.gopher_quality import bullet_lines, ellipsis_lines, symbol_ratio
from corpus.rules.lines import open_line_share
from corpus.rules.repetition import duplicate_ngram_shares, top_ngram_share
from corpus.rules.statistics import ALPHA, DIGIT, SPACE, Statistics, find_single

MIN_DOCUMENTS = 50
_STOP_WORDS = 12
_ALPHABET_SHARE = 0.999
_DIGITS = 4
_DEFAULTS = Profile()
_TOP_SIZES = {"word": (2, 3, 4), "character": (3, 5, 6)}
_DUPLICATE_SIZES = {"word": (5, 6, 7, 8, 9, 10), "character": (8, 10, 11, 13, 14, 16)}

Measure = Callable[[Statistics], float]
LOW: dict[str, Measure] = {
    "gopher_quality.min_words": lambda s: s.num_words,
    "gopher_quality.min_mean_word_length": lambda s: s.mean_word_length,
    "gopher_quality.min_alphabetic_words": lambda s: s.alphabetic_words,
    "fineweb.min_line_punctuation": lambda s: (
        1 - open_line_share(s.lines, _DEFAULTS.fineweb.end_marks)
    ),
}
"""Threshold -> what it is the least of."""
HIGH: dict[str, Measure] = {
    "gopher_quality.max_words": lambda s: s.num_words,
    "gopher_quality.max_mean_word_length": lambda s: s.mean_word_length,
    "gopher_quality.max_symbol_ratio": symbol_ratio,
    "gopher_quality.max_bullet_lines": bullet_lines,
    "gopher_quality.max_ellipsis_lines": ellipsis_lines,
    "gopher_repetition.max_duplicate_lines": lambda s: s.duplicate_lines[0],
    "gopher_repetition.max_duplicate_line_chars": lambda s: s.duplicate_lines[1],
    "gopher_repetition.max_duplicate_paragraphs": lambda s: s.duplicate_paragraphs[0],
    "gopher_repetition.max_duplicate_paragraph_chars": lambda s: s.duplicate_paragraphs[1],
    "fineweb.max_short_lines": lambda s: short_lines(s, _DEFAULTS.fineweb.short_line_chars),
    "fineweb.max_newlines_per_word": newlines_per_word,
    "curator.max_symbols": curator_rules.symbol_share,
    "curator.max_digits": lambda s: s.share(DIGIT),
    "curator.max_white_space": lambda s: s.share(SPACE),
    "curator.max_url_chars": lambda s: curator_rules.url_share(s.text),
    "curator.max_parentheses": lambda s: curator_rules.bracket_share(s.text),
    "curator.max_open_sentences": lambda s: open_line_share(s.lines, _DEFAULTS.curator.end_marks),
}
"""Threshold -> what it is the most of."""


def sample(texts: Iterable[str], limit: int) -> list[str]:
    """The ``limit`` texts with the smallest hashes: the same whatever order they come in."""
    kept: list[tuple[int, str]] = []
    for text in texts:
        if not text.strip():
            continue
        key = -int.from_bytes(blake3(text.encode("utf-8", "surrogatepass")).digest(8), "little")
        if len(kept) < limit:
            heapq.heappush(kept, (key, text))
        elif key > kept[0][0]:
            heapq.heapreplace(kept, (key, text))
    return [text for _, text in sorted(kept, reverse=True)]


def calibrate(texts: list[str], tail: float = 0.02) -> Profile:
    """A profile under which about ``1 - tail`` of the texts pass each single threshold.

    Args:
        texts: good documents of one language.
        tail: share of the sample that falls to one threshold, 0 to 0.5.

    Raises:
        CorpusError: fewer than 50 texts, too few to tell a tail.
    """
    if len(texts) < MIN_DOCUMENTS:
        raise CorpusError(
            f"calibration needs at least {MIN_DOCUMENTS} documents, got {len(texts)}; "
            "give more, or loosen the thresholds by hand"
        )
    unit = unit_of(texts)
    values: dict[str, dict[str, Any]] = {}
    measured: dict[str, list[float]] = {name: [] for name in (*LOW, *HIGH)}
    grams: dict[tuple[str, int], list[float]] = {}
    for text in texts:
        stats = Statistics(text, unit)
        for name, measure in (LOW | HIGH).items():
            measured[name].append(measure(stats))
        _measure_ngrams(stats, grams)
    for name, found in measured.items():
        rule, field = name.split(".")
        values.setdefault(rule, {})[field] = _threshold(found, tail, low=name in LOW)
    for (field, n), found in sorted(grams.items()):
        limits = values["gopher_repetition"].setdefault(field, {})
        limits[n] = _threshold(found, tail, low=False)
    _add_words(texts, unit, tail, values)
    if unit == "character":
        values["han"] = {"enabled": False}
    return Profile.model_validate({"unit": unit, **_typed(values)})


def unit_of(texts: list[str]) -> Unit:
    """``character`` where most letters belong to a script written without spaces."""
    single = letters = 0
    for text in texts[:1000]:
        stats = Statistics(text)
        places = (stats.kinds & ALPHA) > 0
        letters += int(places.sum())
        single += int(find_single(stats.codes[places]).sum())
    return "character" if 2 * single > letters else "word"


def _measure_ngrams(stats: Statistics, grams: dict[tuple[str, int], list[float]]) -> None:
    for n in _TOP_SIZES[stats.unit]:
        share = top_ngram_share(*stats.tokens, n)
        grams.setdefault(("max_top_ngram_chars", n), []).append(share)
    for n, share in duplicate_ngram_shares(*stats.tokens, _DUPLICATE_SIZES[stats.unit]):
        grams.setdefault(("max_duplicate_ngram_chars", n), []).append(share)


def _add_words(
    texts: list[str], unit: Unit, tail: float, values: dict[str, dict[str, Any]]
) -> None:
    """Stop words, the alphabet, and how much of them a document needs."""
    counts: Counter[str] = Counter()
    letters: Counter[str] = Counter()
    for text in texts:
        counts += Statistics(text, unit).stop_word_counts
        letters += Counter(filter(str.isalpha, text.lower()))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    words = [word for word, _ in ranked if word.isalpha()][:_STOP_WORDS]
    wanted = frozenset(words)
    found = [Statistics(text, unit).stop_words(wanted, len(wanted)) for text in texts]
    values["gopher_quality"]["stop_words"] = tuple(words)
    values["gopher_quality"]["min_stop_words"] = min(2, _threshold(found, tail, low=True))
    if unit == "word":
        alphabet = _alphabet(letters)
        shares = [curator_rules.alphabet_share(Statistics(t, unit), alphabet) for t in texts]
        values["curator"]["alphabet"] = alphabet
        values["curator"]["min_alphabet_share"] = _threshold(shares, tail, low=True)


def _alphabet(letters: Counter[str]) -> str:
    """The commonest letters, until they make up 99.9 % of the sample's."""
    total, covered, chosen = sum(letters.values()), 0, []
    for letter, count in sorted(letters.items(), key=lambda item: (-item[1], item[0])):
        if covered >= _ALPHABET_SHARE * total:
            break
        chosen.append(letter)
        covered += count
    return "".join(sorted(chosen))


def _threshold(found: Sequence[float], tail: float, low: bool) -> float:
    """A quantile, rounded away from the sample so that its own documents pass."""
    scale = 10**_DIGITS
    if low:
        return float(np.floor(np.quantile(found, tail) * scale) / scale)
    return float(np.ceil(np.quantile(found, 1 - tail) * scale) / scale)


def _typed(values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Whole numbers where the config wants them; and nothing that would reject every text."""
    quality = values["gopher_quality"]
    quality["max_words"] = max(int(np.ceil(quality["max_words"])), 1)
    for field in ("min_words", "min_stop_words"):
        quality[field] = int(quality[field])
    short = values["fineweb"]
    short["max_short_lines"] = min(short["max_short_lines"] + 10**-_DIGITS, 1.0)
    short["min_line_punctuation"] = max(short["min_line_punctuation"] - 10**-_DIGITS, 0.0)
    return values
