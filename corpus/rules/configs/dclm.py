"""Thresholds of RefinedWeb's line-wise corrections (Penedo et al. 2023, arXiv:2306.01116,
appendix G.2), as DCLM's baselines/baselines_configs define them (Li et al. 2024,
arXiv:2406.11794).
"""

from pydantic import Field

from clusters.config import StageConfig

COUNTERS = (
    *("likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks"),
    *("upvotes", "downvotes", "downloads", "views", "followers"),
)


class DclmConfig(StageConfig):
    """Drops what is no sentence of the page; a document that loses too much is rejected."""

    enabled: bool = False
    """Apply these rules."""
    max_upper_line: float = Field(default=0.5, ge=0, le=1)
    """Largest share of a line's characters that are upper case."""
    max_digit_line: float = Field(default=0.999999, ge=0, le=1)
    """Largest share of a line's characters that are digits."""
    counters: tuple[str, ...] = COUNTERS
    """Drop lines that only count one of these (``3 likes``)."""
    min_line_words: int = Field(default=2, ge=0)
    """Fewest words of a line."""
    short_line_words: int = Field(default=10, ge=0)
    """Lines of at most so many words are searched for the phrases below."""
    prefixes: tuple[str, ...] = ("sign-in",)
    """Drop short lines that begin so, in lower case."""
    suffixes: tuple[str, ...] = ("read more...",)
    """Drop short lines that end so."""
    phrases: tuple[str, ...] = ("items in cart",)
    """Drop short lines that contain one."""
    max_removed_words: float = Field(default=0.05, ge=0, le=1)
    """Reject a document that loses a larger share of its words to these rules."""
    min_stop_words: int = Field(default=2, ge=0)
    """Fewest stop words, each occurrence counted (Gopher counts different ones)."""
