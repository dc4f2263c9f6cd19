"""Rules for Chinese text, counted in characters (arXiv:2311.01149, section 2.2)."""

import numpy as np

from corpus.rules.configs.han import HanConfig
from corpus.rules.repetition import duplicate_ngram_shares
from corpus.rules.statistics import HAN, Statistics
from corpus.rules.verdict import Rejection


def han(stats: Statistics, config: HanConfig) -> Rejection | None:
    """Judge a document by length, line length, ideographs and repetition."""
    if not config.enabled:
        return None
    if len(stats.text) < config.min_chars:
        return Rejection("too_few_characters", len(stats.text))
    mean = mean_line_chars(stats)
    if mean < config.min_mean_line_chars:
        return Rejection("short_lines", mean)
    share = han_share(stats)
    if share < config.min_han_share:
        return Rejection("too_few_ideographs", share)
    if config.max_repeated_ngrams == 1:
        return None
    ((_, repeated),) = duplicate_ngram_shares(*stats.tokens, (config.ngram,))
    if repeated > config.max_repeated_ngrams:
        return Rejection(f"repeated_{config.ngram}_grams", repeated)
    return None


def han_share(stats: Statistics) -> float:
    """Share of ideographs among words, a run of other letters or digits being one word."""
    starts, _ = stats.token_runs
    return float(np.count_nonzero(stats.kinds[starts] & HAN)) / max(len(starts), 1)


def mean_line_chars(stats: Statistics) -> float:
    """Characters a line."""
    return sum(map(len, stats.lines)) / max(len(stats.lines), 1)
