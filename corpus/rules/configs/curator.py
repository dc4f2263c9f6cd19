"""Thresholds of NeMo Curator's heuristic filters (nemo_curator, filters/heuristic_filter.py)."""

from pydantic import Field

from clusters.config import StageConfig
from corpus.rules.configs.c4 import POLICY


class CuratorConfig(StageConfig):
    """What Curator adds to Gopher's and C4's rules; shares are of characters."""

    enabled: bool = False
    """Apply these rules."""
    max_symbols: float = Field(default=0.25, ge=0, le=1)
    """Largest share that is neither letter, digit nor white space."""
    max_digits: float = Field(default=0.15, ge=0, le=1)
    """Largest share of digits."""
    max_url_chars: float = Field(default=0.2, ge=0, le=1)
    """Largest share inside URLs."""
    max_white_space: float = Field(default=0.25, ge=0, le=1)
    """Largest share of white space."""
    max_parentheses: float = Field(default=0.1, ge=0, le=1)
    """Largest share of brackets."""
    max_word_chars: int = Field(default=1000, ge=1)
    """Characters of the longest word."""
    max_boilerplate_paragraphs: float = Field(default=0.4, ge=0, le=1)
    """Largest share of paragraphs with a phrase of ``boilerplate``."""
    boilerplate: tuple[str, ...] = POLICY
    """In lower case."""
    max_open_sentences: float = Field(default=0.85, ge=0, le=1)
    """Largest share of lines that do not end in an end mark."""
    end_marks: tuple[str, ...] = (".", "?", "!", '"', "'", "。", "！", "？", "”", "…")
    """What ends a sentence."""
    pornographic_urls: bool = True
    """Reject documents that quote a URL with ``porn`` in it."""
    alphabet: str = ""
    """Letters of the language, in lower case; empty asks nothing. Written by calibration."""
    min_alphabet_share: float = Field(default=0.8, ge=0, le=1)
    """Smallest share of letters that belong to the alphabet (Curator's histogram filter)."""
