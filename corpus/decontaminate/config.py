"""Config of decontamination: which evaluation sets, and how long an overlap must be."""

from typing import Literal

from pydantic import Field, model_validator

from clusters.config import StageConfig


class BenchmarkConfig(StageConfig):
    """One evaluation set."""

    name: str = Field(min_length=1)
    """Its name in reports and reasons."""
    path: str
    """A file or glob: .jsonl (plain, .gz, .zst), .json (a list, or an object with one list),
    .csv, .parquet, .txt (an item a line)."""
    fields: tuple[str, ...] = ()
    """Fields or columns that make one item, joined in order; ``a.b`` goes into objects, and a
    list gives all its strings. Empty takes every string of the record; for a CSV file without
    a header, use numbers from 0."""
    separate: bool = False
    """Match each field on its own instead of joined: for questions whose choices or contexts
    also occur without each other."""


class DecontaminateConfig(StageConfig):
    """n-gram overlap with evaluation sets, after GPT-3 (Brown et al. 2020, arXiv:2005.14165,
    appendix C: 13 words, lower case, without punctuation).
    """

    benchmarks: tuple[BenchmarkConfig, ...] = ()
    """Evaluation sets; none, and the step does nothing."""
    ngram: int = Field(default=13, ge=4)
    """Words of an n-gram."""
    character_ngram: int = Field(default=16, ge=4)
    """Characters of an n-gram in items mostly written without spaces, such as Chinese: about ten
    words, at 1.6 characters a word."""
    min_words: int = Field(default=8, ge=1)
    """An item shorter than an n-gram is matched whole, from this many words on (GPT-3's lower
    bound); one shorter still cannot be checked and is counted."""
    max_benchmark_share: float = Field(default=0.01, gt=0, le=1)
    """An n-gram that stands in a larger share of a set's items (and in more than 10) is its
    instruction, not its content, and is left out: a prompt's common opening."""
    action: Literal["drop", "report"] = "drop"
    """``drop`` rejects the document; ``report`` only counts."""

    @model_validator(mode="after")
    def _names_differ(self) -> "DecontaminateConfig":
        names = [benchmark.name for benchmark in self.benchmarks]
        if len(set(names)) < len(names):
            raise ValueError(f"two benchmarks have the same name: {sorted(names)}")
        return self
