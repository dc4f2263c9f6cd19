"""Rules for program code (RedPajama-1 and NeMo Curator)."""

from corpus.rules.configs.code import CodeConfig
from corpus.rules.statistics import ALPHA, DIGIT, Statistics
from corpus.rules.verdict import Rejection

_COMMENTS = ("#", "//", "/*", "*", "--", ";", "%", '"""', "'''", "<!--")
"""What opens a comment line in the common languages; a ``#include`` counts too: cheap and
language-blind, which the wide limits (1 % to 85 %) allow for."""


def code(stats: Statistics, config: CodeConfig) -> Rejection | None:
    """Judge a file by its lines, letters and comments; the first rule that fails answers."""
    return _by_lines(stats, config) or _by_content(stats, config)


def longest_line(stats: Statistics) -> int:
    """Characters of the longest line."""
    return max(map(len, stats.text.splitlines()), default=0)


def mean_line(stats: Statistics) -> float:
    """Characters a line, empty ones included."""
    lines = stats.text.splitlines()
    return sum(map(len, lines)) / max(len(lines), 1)


def alphanumeric_share(stats: Statistics) -> float:
    """Share of characters that are letters or digits."""
    return stats.share(ALPHA | DIGIT)


def comment_share(stats: Statistics) -> float:
    """Share of the lines' characters that stand in comment lines."""
    comments = sum(len(line) for line in stats.lines if line.startswith(_COMMENTS))
    return comments / max(sum(map(len, stats.lines)), 1)


def has_xml_header(text: str, chars: int) -> bool:
    """Whether a file says within its first characters that it is XML."""
    return "<?xml version=" in text[: chars + len("<?xml version=")]


def _by_lines(stats: Statistics, config: CodeConfig) -> Rejection | None:
    lines = len(stats.text.splitlines())
    if lines < config.min_lines:
        return Rejection("too_few_lines", lines)
    if lines > config.max_lines:
        return Rejection("too_many_lines", lines)
    longest = longest_line(stats)
    if longest > config.max_line_chars:
        return Rejection("long_line", longest)
    mean = mean_line(stats)
    if mean > config.max_mean_line_chars:
        return Rejection("long_lines", mean)
    return None


def _by_content(stats: Statistics, config: CodeConfig) -> Rejection | None:
    alphanumeric = alphanumeric_share(stats)
    if alphanumeric < config.min_alphanumeric:
        return Rejection("too_few_alphanumerics", alphanumeric)
    alphabetic = stats.share(ALPHA)
    if alphabetic < config.min_alphabetic:
        return Rejection("too_few_letters", alphabetic)
    if has_xml_header(stats.text, config.xml_header_chars):
        return Rejection("xml")
    comments = comment_share(stats)
    if not config.min_comments <= comments <= config.max_comments:
        return Rejection("comments", comments)
    return None
