"""What NeMo Curator's heuristic filters add to Gopher's and C4's."""

import re

import numpy as np

from corpus.rules.configs.curator import CuratorConfig
from corpus.rules.lines import open_line_share
from corpus.rules.statistics import ALPHA, DIGIT, SPACE, Statistics
from corpus.rules.verdict import Rejection

_URL = re.compile(r"https?://[^\s<>\"'）)\]]+|www\.[^\s<>\"'）)\]]+")
_PORNOGRAPHIC = re.compile(r"https?://\S*porn\S*", re.IGNORECASE)
_BRACKETS = "()[]（）【】"


def curator(stats: Statistics, config: CuratorConfig) -> Rejection | None:
    """Judge a document by its characters, URLs and paragraphs; the first that fails answers."""
    if not config.enabled:
        return None
    return _by_characters(stats, config) or _by_urls(stats, config) or _by_pieces(stats, config)


def symbol_share(stats: Statistics) -> float:
    """Share of characters that are neither letter, digit nor white space."""
    return 1 - stats.share(ALPHA | DIGIT | SPACE) if stats.text else 1.0


def url_share(text: str) -> float:
    """Share of characters that are inside URLs."""
    if "://" not in text and "www." not in text:
        return 0.0
    return sum(map(len, _URL.findall(text))) / len(text)


def bracket_share(text: str) -> float:
    """Share of characters that are brackets."""
    return sum(map(text.count, _BRACKETS)) / max(len(text), 1)


def alphabet_share(stats: Statistics, alphabet: str) -> float:
    """Share of letters, in lower case, that belong to the alphabet; 1 where there are none."""
    letters = np.flatnonzero(stats.kinds & ALPHA)
    if not len(letters):
        return 1.0
    known = frozenset(alphabet + alphabet.upper())
    values, counts = np.unique(stats.codes[letters], return_counts=True)
    inside = sum(int(n) for code, n in zip(values, counts, strict=True) if chr(code) in known)
    return inside / len(letters)


def _by_characters(stats: Statistics, config: CuratorConfig) -> Rejection | None:
    measured = (
        ("symbols", symbol_share(stats), config.max_symbols),
        ("digits", stats.share(DIGIT), config.max_digits),
        ("white_space", stats.share(SPACE), config.max_white_space),
        ("parentheses", bracket_share(stats.text), config.max_parentheses),
        ("long_word", stats.max_word_length, config.max_word_chars),
    )
    for reason, value, limit in measured:
        if value > limit:
            return Rejection(reason, value)
    if config.alphabet:
        share = alphabet_share(stats, config.alphabet)
        if share < config.min_alphabet_share:
            return Rejection("foreign_letters", share)
    return None


def _by_urls(stats: Statistics, config: CuratorConfig) -> Rejection | None:
    share = url_share(stats.text)
    if share > config.max_url_chars:
        return Rejection("urls", share)
    if config.pornographic_urls and "://" in stats.text and _PORNOGRAPHIC.search(stats.text):
        return Rejection("pornographic_url")
    return None


def _by_pieces(stats: Statistics, config: CuratorConfig) -> Rejection | None:
    lower = stats.text.lower()
    if any(phrase in lower for phrase in config.boilerplate):
        pieces = [piece.lower() for piece in stats.paragraphs]
        hits = sum(any(phrase in piece for phrase in config.boilerplate) for piece in pieces)
        if hits > config.max_boilerplate_paragraphs * len(pieces):
            return Rejection("boilerplate", hits / len(pieces))
    unfinished = open_line_share(stats.lines, config.end_marks)
    if unfinished > config.max_open_sentences:
        return Rejection("open_sentences", unfinished)
    return None
