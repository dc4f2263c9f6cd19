"""Config of the stage ``corpus.build``: what is read, and what is kept of it."""

from pydantic import Field

from clusters.config import StageConfig, execution
from corpus.dedup.config import DedupConfig, LinesConfig, SplitConfig
from corpus.rules.config import RulesConfig
from corpus.sources.config import PYTHON_DOCS, FilesSource, PythonDocsSource, SourceConfig
from corpus.value.config import ValueConfig

__all__ = [
    "PYTHON_DOCS",
    "BuildConfig",
    "DedupConfig",
    "FilesSource",
    "LanguageConfig",
    "LinesConfig",
    "PythonDocsSource",
    "QualityConfig",
    "SourceConfig",
    "SplitConfig",
]


class LanguageConfig(StageConfig):
    """Which languages are kept."""

    keep: tuple[str, ...] = ("en",)
    """ISO 639-1 codes; empty keeps every language."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Lowest probability the identifier must give a kept language."""
    max_chars: int = Field(default=2000, ge=100)
    """The identifier reads this many characters of a document."""


class QualityConfig(StageConfig):
    """The fastText classifier: full sentences of the seed sources against debris."""

    enabled: bool = True
    """Train the classifier and score documents with it."""
    positive_sources: tuple[str, ...] = ()
    """Sources whose prose is the good example; empty means all of them."""
    min_prose_share: float = Field(default=0.5, ge=0, le=1)
    """Share of words in sentence-like lines that makes a document a good example."""
    negative_rules: tuple[str, ...] = ("gopher_quality", "gopher_repetition")
    """Records that these rules rejected are bad examples."""
    max_examples: int = Field(default=4000, ge=1)
    """Most examples of each class."""
    min_examples: int = Field(default=100, ge=1)
    """With fewer of either class no classifier is trained, and the ledger says so."""
    max_chars: int = Field(default=2000, ge=100)
    """The classifier reads this many characters of a document."""
    dim: int = Field(default=16, ge=1)
    """Size of the word vectors."""
    epochs: int = Field(default=5, ge=1)
    """Passes over the examples."""
    learning_rate: float = Field(default=0.2, gt=0)
    """fastText's ``lr``."""
    word_ngrams: int = Field(default=2, ge=1)
    """Longest word n-gram that is a feature."""
    buckets: int = Field(default=1 << 17, ge=1)
    """Hash buckets for n-grams; the model file takes about ``4 * dim * buckets`` bytes."""
    min_score: float = Field(default=0.05, ge=0, le=1)
    """Documents that score below are rejected; 0 keeps all."""


class BuildConfig(StageConfig):
    """From sources to documents."""

    sources: list[SourceConfig] = Field(min_length=1)
    """What is read, in order."""
    language: LanguageConfig = LanguageConfig()
    """Language identification."""
    rules: RulesConfig = RulesConfig()
    """Heuristic filters."""
    lines: LinesConfig = LinesConfig()
    """Lines and paragraphs repeated across the corpus."""
    dedup: DedupConfig = DedupConfig()
    """Duplicates."""
    split: SplitConfig = SplitConfig()
    """Held-out documents."""
    quality: QualityConfig = QualityConfig()
    """Learned filter."""
    value: ValueConfig = ValueConfig()
    """Score columns."""
    max_bad_share: float = Field(default=0.2, ge=0, le=1)
    """The stage stops where more than this share of the records cannot be read."""
    max_document_bytes: int = Field(default=4 << 20, gt=0)
    """Longer records are rejected before any rule reads them."""
    workers: int | None = execution(None, gt=0)
    """Units worked on at once; by default the cluster's CPUs."""
