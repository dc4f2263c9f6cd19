"""Gopher's quality rules (arXiv:2112.11446, A1.1)."""

import re

from corpus.rules.configs.gopher import GopherQualityConfig
from corpus.rules.statistics import Statistics
from corpus.rules.verdict import Rejection

_BULLETS = ("-", "*", "•", "●", "○", "■", "▪", "‣", "·", "\u2013")
_HASHES = re.compile("#+")
_ELLIPSES = ("...", "…")


def gopher_quality(stats: Statistics, config: GopherQualityConfig) -> Rejection | None:
    """Judge a document by its words and lines; the first rule that fails answers."""
    if not config.enabled:
        return None
    return _by_length(stats, config) or _by_words(stats, config) or _by_lines(stats, config)


def symbol_ratio(stats: Statistics) -> float:
    """Hash signs or ellipses per word, whichever there are more of."""
    text = stats.text
    hashes = len(_HASHES.findall(text)) if "#" in text else 0
    ellipses = text.count("...") + text.count("…")
    return max(hashes, ellipses) / max(stats.num_words, 1)


def bullet_lines(stats: Statistics) -> float:
    """Share of lines that start with a bullet."""
    return sum(line.startswith(_BULLETS) for line in stats.lines) / max(len(stats.lines), 1)


def ellipsis_lines(stats: Statistics) -> float:
    """Share of lines that end with an ellipsis."""
    return sum(line.endswith(_ELLIPSES) for line in stats.lines) / max(len(stats.lines), 1)


def _by_length(stats: Statistics, config: GopherQualityConfig) -> Rejection | None:
    if stats.num_words < max(config.min_words, 1):
        return Rejection("too_few_words", stats.num_words)
    if stats.num_words > config.max_words:
        return Rejection("too_many_words", stats.num_words)
    if stats.mean_word_length < config.min_mean_word_length:
        return Rejection("words_too_short", stats.mean_word_length)
    if stats.mean_word_length > config.max_mean_word_length:
        return Rejection("words_too_long", stats.mean_word_length)
    return None


def _by_words(stats: Statistics, config: GopherQualityConfig) -> Rejection | None:
    symbols = symbol_ratio(stats)
    if symbols > config.max_symbol_ratio:
        hashes = len(_HASHES.findall(stats.text)) / stats.num_words
        kind = "hashes" if hashes > config.max_symbol_ratio else "ellipses"
        return Rejection(f"too_many_{kind}", symbols)
    if stats.alphabetic_words < config.min_alphabetic_words:
        return Rejection("too_few_alphabetic_words", stats.alphabetic_words)
    stop_words = stats.stop_words(frozenset(config.stop_words), config.min_stop_words)
    if stop_words < config.min_stop_words:
        return Rejection("too_few_stop_words", stop_words)
    return None


def _by_lines(stats: Statistics, config: GopherQualityConfig) -> Rejection | None:
    bullets = bullet_lines(stats)
    if bullets > config.max_bullet_lines:
        return Rejection("too_many_bullets", bullets)
    cut = ellipsis_lines(stats)
    if cut > config.max_ellipsis_lines:
        return Rejection("too_many_cut_lines", cut)
    return None
