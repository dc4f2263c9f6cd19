"""Thresholds of C4 (Raffel et al. 2020, JMLR 21:140, section 2.2) and of mC4."""

from pydantic import Field

from clusters.config import StageConfig

POLICY = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


class C4Config(StageConfig):
    """C4's rules. Those on lines drop lines from the text, before documents are judged."""

    enabled: bool = False
    """Apply these rules."""
    line_rules: bool = True
    """Drop lines too, not only documents."""
    terminal_punctuation: bool = True
    """Drop lines that do not end in a terminal punctuation mark, or end in an ellipsis.
    FineWeb leaves this one out: it costs 30 % of the tokens (arXiv:2406.17557, section 3.5)."""
    end_marks: tuple[str, ...] = (".", "!", "?", '"', "'", "。", "！", "？", "”", "」", "…")
    """What a line may end with; the paper has the first four."""
    min_line_words: int = Field(default=3, ge=0)
    """Fewest words of a line."""
    max_word_chars: int = Field(default=1000, ge=1)
    """A line with a longer word is dropped (the project's code, c4_utils.py)."""
    citations: bool = True
    """Remove ``[1]``, ``[edit]``, ``[citation needed]`` from lines."""
    javascript: bool = True
    """Drop lines that name JavaScript."""
    policy: tuple[str, ...] = POLICY
    """Drop lines with one of these phrases, in lower case."""
    lorem_ipsum: bool = True
    """Reject documents with the phrase."""
    curly_bracket: bool = True
    """Reject documents with a curly bracket, which prose lacks and code has."""
    min_sentences: int = Field(default=5, ge=0)
    """Fewest sentences that are left; a sentence ends in an end mark before a space or line end."""
    min_long_lines: int = Field(default=0, ge=0)
    """Fewest lines of ``long_line_chars``; mC4 asks for 3 (Xue et al. 2021, section 3.1)."""
    long_line_chars: int = Field(default=200, ge=1)
    """Characters of a long line."""
