"""Gopher's quality rules (arXiv:2112.11446, A1.1)."""

import re

from corpus.rules.config import GopherQualityConfig
from corpus.rules.verdict import Rejection

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
_BULLETS = ("-", "*", "•", "●", "○", "■", "▪", "‣", "·", "\u2013")
_HASHES = re.compile("#+")
_ELLIPSES = ("...", "…")


def gopher_quality(text: str, config: GopherQualityConfig) -> Rejection | None:
    """Judge a document by its words and lines; the first rule that fails answers."""
    if not config.enabled:
        return None
    words = text.split()
    return _by_length(words, config) or _by_words(text, words, config) or _by_lines(text, config)


def _by_length(words: list[str], config: GopherQualityConfig) -> Rejection | None:
    if len(words) < max(config.min_words, 1):
        return Rejection("too_few_words", len(words))
    if len(words) > config.max_words:
        return Rejection("too_many_words", len(words))
    mean = sum(map(len, words)) / len(words)
    if mean < config.min_mean_word_length:
        return Rejection("words_too_short", mean)
    if mean > config.max_mean_word_length:
        return Rejection("words_too_long", mean)
    return None


def _by_words(text: str, words: list[str], config: GopherQualityConfig) -> Rejection | None:
    hashes = len(_HASHES.findall(text)) / len(words)
    if hashes > config.max_symbol_ratio:
        return Rejection("too_many_hashes", hashes)
    ellipses = (text.count("...") + text.count("…")) / len(words)
    if ellipses > config.max_symbol_ratio:
        return Rejection("too_many_ellipses", ellipses)
    alphabetic = sum(word.isalpha() or any(map(str.isalpha, word)) for word in words) / len(words)
    if alphabetic < config.min_alphabetic_words:
        return Rejection("too_few_alphabetic_words", alphabetic)
    stop_words = len(STOP_WORDS.intersection(map(str.lower, words)))
    if stop_words < config.min_stop_words:
        return Rejection("too_few_stop_words", stop_words)
    return None


def _by_lines(text: str, config: GopherQualityConfig) -> Rejection | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    bullets = sum(line.startswith(_BULLETS) for line in lines) / len(lines)
    if bullets > config.max_bullet_lines:
        return Rejection("too_many_bullets", bullets)
    cut = sum(line.endswith(_ELLIPSES) for line in lines) / len(lines)
    if cut > config.max_ellipsis_lines:
        return Rejection("too_many_cut_lines", cut)
    return None
