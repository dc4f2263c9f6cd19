"""Config of the stage ``corpus.build``: what is read, and what is kept of it."""

from pydantic import Field

from clusters.config import StageConfig, execution
from corpus.decontaminate.config import DecontaminateConfig
from corpus.dedup.config import DedupConfig, LinesConfig, SplitConfig
from corpus.extract.config import ExtractConfig
from corpus.language.config import LanguageConfig
from corpus.rules.config import RulesConfig
from corpus.safety.config import SafetyConfig
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
    "SourceConfig",
    "SplitConfig",
]


class BuildConfig(StageConfig):
    """From sources to documents."""

    sources: list[SourceConfig] = Field(min_length=1)
    """What is read, in order."""
    extract: ExtractConfig = ExtractConfig()
    """From web pages to text."""
    language: LanguageConfig = LanguageConfig()
    """Language identification."""
    rules: RulesConfig = RulesConfig()
    """Heuristic filters."""
    safety: SafetyConfig = SafetyConfig()
    """Personal data, domain lists, word lists."""
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    """Overlap with evaluation sets."""
    lines: LinesConfig = LinesConfig()
    """Lines and paragraphs repeated across the corpus."""
    dedup: DedupConfig = DedupConfig()
    """Duplicates."""
    split: SplitConfig = SplitConfig()
    """Held-out documents."""
    value: ValueConfig = ValueConfig()
    """Score columns."""
    max_bad_share: float = Field(default=0.2, ge=0, le=1)
    """The stage stops where more than this share of the records cannot be read."""
    max_document_bytes: int = Field(default=4 << 20, gt=0)
    """Longer records are rejected before any rule reads them."""
    workers: int | None = execution(None, gt=0)
    """Units worked on at once; by default the cluster's CPUs."""
