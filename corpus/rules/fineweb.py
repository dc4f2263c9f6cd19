"""FineWeb's rules on lines (arXiv:2406.17557, section 3.6; datatrove's filter for the details)."""

from corpus.rules.configs.fineweb import FineWebConfig
from corpus.rules.lines import open_line_share
from corpus.rules.statistics import Statistics
from corpus.rules.verdict import Rejection


def fineweb(stats: Statistics, config: FineWebConfig) -> Rejection | None:
    """Judge a document by its lines; the first rule that fails answers."""
    if not config.enabled:
        return None
    if not stats.lines:
        return Rejection("no_lines", 0)
    punctuated = 1 - open_line_share(stats.lines, config.end_marks)
    if punctuated <= config.min_line_punctuation:
        return Rejection("lines_without_punctuation", punctuated)
    short = short_lines(stats, config.short_line_chars)
    if short >= config.max_short_lines:
        return Rejection("short_lines", short)
    if stats.duplicate_lines[1] >= config.max_duplicate_chars > 0:
        return Rejection("duplicate_line_characters", stats.duplicate_lines[1])
    newlines = newlines_per_word(stats)
    if newlines > config.max_newlines_per_word:
        return Rejection("list", newlines)
    return None


def short_lines(stats: Statistics, chars: int) -> float:
    """Share of lines of at most so many characters."""
    return sum(len(line) <= chars for line in stats.lines) / max(len(stats.lines), 1)


def newlines_per_word(stats: Statistics) -> float:
    """Line ends, a run of them counted once, per word: our paragraphs are set apart by two."""
    return max(len(stats.lines) - 1, 0) / max(stats.num_words, 1)
