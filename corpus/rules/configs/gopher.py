"""Thresholds of MassiveText (Rae et al. 2021, arXiv:2112.11446, appendix A1.1)."""

from pydantic import Field

from clusters.config import StageConfig


class GopherQualityConfig(StageConfig):
    """Gopher's quality rules; the paper's values except where a docstring says otherwise."""

    enabled: bool = True
    """Apply these rules."""
    min_words: int = Field(default=50, ge=0)
    """Fewest words."""
    max_words: int = Field(default=100_000, ge=1)
    """Most words."""
    min_mean_word_length: float = Field(default=3.0, ge=0)
    """Lowest mean word length, in characters."""
    max_mean_word_length: float = Field(default=10.0, gt=0)
    """Highest mean word length, in characters."""
    max_symbol_ratio: float = Field(default=0.1, ge=0)
    """Most hash signs (``##`` counts as one) or ellipses per word."""
    max_bullet_lines: float = Field(default=0.9, ge=0, le=1)
    """Largest share of lines that start with a bullet."""
    max_ellipsis_lines: float = Field(default=0.3, ge=0, le=1)
    """Largest share of lines that end with an ellipsis."""
    min_alphabetic_words: float = Field(default=0.7, ge=0, le=1)
    """Smallest share of words with a letter. The paper's 0.8 costs reference pages whose
    signatures and tables carry many bare operators and numbers."""
    min_stop_words: int = Field(default=2, ge=0)
    """Fewest different stop words."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """In lower case; single characters where the unit is the character."""


class GopherRepetitionConfig(StageConfig):
    """Gopher's repetition rules; shares are of lines, paragraphs or characters (table A1)."""

    enabled: bool = True
    """Apply these rules."""
    except_sources: tuple[str, ...] = ("docstrings",)
    """Sources the line and n-gram rules leave alone: reference pages repeat the same
    parameter descriptions by design. Paragraph rules still apply to them."""
    max_duplicate_lines: float = Field(default=0.30, ge=0, le=1)
    """Largest share of lines seen before in the document."""
    max_duplicate_paragraphs: float = Field(default=0.30, ge=0, le=1)
    """Largest share of paragraphs seen before in the document."""
    max_duplicate_line_chars: float = Field(default=0.20, ge=0, le=1)
    """Largest share of characters in such lines."""
    max_duplicate_paragraph_chars: float = Field(default=0.20, ge=0, le=1)
    """Largest share of characters in such paragraphs."""
    max_top_ngram_chars: dict[int, float] = Field(default={2: 0.20, 3: 0.18, 4: 0.16})
    """n -> largest share of characters in the most frequent word n-gram."""
    max_duplicate_ngram_chars: dict[int, float] = Field(default={
        5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10,
    })  # fmt: skip
    """n -> largest share of characters in word n-grams that occur more than once."""
