"""Thresholds of FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.6 and datatrove)."""

from pydantic import Field

from clusters.config import StageConfig


class FineWebConfig(StageConfig):
    """FineWeb's own rules, beside Gopher's and C4's."""

    enabled: bool = False
    """Apply these rules."""
    min_line_punctuation: float = Field(default=0.12, ge=0, le=1)
    """A document at or below this share of lines that end in punctuation is rejected."""
    end_marks: tuple[str, ...] = (".", "'", '"', "!", "?", *"。！？”」…；：")
    """What ends a line; FineWeb has the first five, FineWeb-2 the other scripts'."""
    max_short_lines: float = Field(default=0.67, ge=0, le=1)
    """A document at or above this share of short lines is rejected."""
    short_line_chars: int = Field(default=30, ge=0)
    """Characters of a short line, at most."""
    max_duplicate_chars: float = Field(default=0.01, ge=0, le=1)
    """A document at or above this share of characters in repeated lines is rejected; the paper
    calls it 0.1, its code and this default say 0.01."""
    max_newlines_per_word: float = Field(default=0.3, ge=0)
    """Most line ends per word."""
