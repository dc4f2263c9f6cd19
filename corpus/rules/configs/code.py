"""Thresholds for program code: RedPajama-1 (github_run_filter.py, after StarCoder's and CodeX's)
and NeMo Curator (filters/code.py).
"""

from pydantic import Field

from clusters.config import StageConfig


class CodeConfig(StageConfig):
    """Rules for sources that hold program code."""

    sources: tuple[str, ...] = ()
    """Sources judged by these rules, and by no others."""
    max_line_chars: int = Field(default=1000, ge=1)
    """Characters of the longest line (RedPajama)."""
    max_mean_line_chars: float = Field(default=100.0, gt=0)
    """Mean characters of a line (RedPajama)."""
    min_alphanumeric: float = Field(default=0.25, ge=0, le=1)
    """Smallest share of letters and digits (RedPajama)."""
    min_alphabetic: float = Field(default=0.25, ge=0, le=1)
    """Smallest share of letters (Curator)."""
    min_lines: int = Field(default=10, ge=0)
    """Fewest lines (Curator)."""
    max_lines: int = Field(default=20_000, ge=1)
    """Most lines (Curator)."""
    min_comments: float = Field(default=0.01, ge=0, le=1)
    """Smallest share of characters in comment lines (Curator)."""
    max_comments: float = Field(default=0.85, ge=0, le=1)
    """Largest share of characters in comment lines (Curator)."""
    xml_header_chars: int = Field(default=100, ge=0)
    """A file with ``<?xml version=`` in its first characters is data, not code (Curator)."""
