"""Thresholds of ChineseWebText (Chen et al. 2023, arXiv:2311.01149, section 2.2)."""

from pydantic import Field

from clusters.config import StageConfig


class HanConfig(StageConfig):
    """Rules for Chinese, counted in characters."""

    enabled: bool = True
    """Apply these rules."""
    min_chars: int = Field(default=200, ge=0)
    """Fewest characters of a document."""
    min_mean_line_chars: float = Field(default=10.0, ge=0)
    """Lowest mean of characters a line; lists of links lie below."""
    min_han_share: float = Field(default=0.3, ge=0, le=1)
    """Smallest share of ideographs among words, a run of other letters being one word. Among all
    characters, as the paper has it, half of the technical articles with code would go."""
    ngram: int = Field(default=13, ge=1)
    """Characters of the n-grams below."""
    max_repeated_ngrams: float = Field(default=0.5, ge=0, le=1)
    """Largest share of characters in n-grams that occur more than once; 1 asks nothing."""
