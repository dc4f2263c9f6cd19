"""Thresholds of the heuristic filters.

Defaults are those of MassiveText (Rae et al. 2021, arXiv:2112.11446, appendix A1.1), except
where a docstring says otherwise.
"""

from pydantic import Field

from clusters.config import StageConfig


class NotADocumentConfig(StageConfig):
    """Files that lie among the documentation and document nothing."""

    enabled: bool = True
    """Reject licences, change logs and lists of authors by their file name."""


class GopherQualityConfig(StageConfig):
    """Gopher's quality rules. A word is a run of non-space characters."""

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
    """Fewest different words out of: the, be, to, of, and, that, have, with."""


class GopherRepetitionConfig(StageConfig):
    """Gopher's repetition rules; shares are of lines, paragraphs or characters."""

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


class RulesConfig(StageConfig):
    """Heuristic filters, in the order they are asked."""

    not_a_document: NotADocumentConfig = NotADocumentConfig()
    """By file name."""
    gopher_quality: GopherQualityConfig = GopherQualityConfig()
    """By what words and lines look like."""
    gopher_repetition: GopherRepetitionConfig = GopherRepetitionConfig()
    """By how much a document repeats itself."""
