"""Config of the stages ``corpus.recall`` and ``corpus.complete``."""

from typing import Literal

from pydantic import Field, model_validator

from clusters.config import StageConfig, execution
from contracts.manifest import ExternalInput
from corpus.select.config import DomainsConfig
from corpus.value.config import FastTextConfig, Seed


class RoundsConfig(FastTextConfig):
    """Classifier recall in rounds, as DeepSeekMath did (arXiv:2402.03300, section 2.1)."""

    rounds: int = Field(default=3, ge=1)
    """Times that a classifier is trained and the pool is scored with it."""
    promote: int = Field(default=500, ge=0)
    """Most documents of the pool that become positives after a round: the surest ones."""
    promote_min_score: float = Field(default=0.9, ge=0, le=1)
    """Lowest score of a promoted document."""
    negatives_per_positive: float = Field(default=4.0, gt=0)
    """Random documents of the pool per positive, at most ``max_examples``."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Documents that score at least this in the last round are recalled."""
    max_share: float | None = Field(default=None, gt=0, le=1)
    """At most this share of the pool's documents is recalled, the best of them."""
    epochs: int = Field(default=10, ge=1)
    """Passes over the examples: few seeds need more than a whole corpus does."""
    min_examples: int = Field(default=20, ge=1)
    """With fewer seeds to train on the stage stops."""


class Bm25Config(StageConfig):
    """Search with every seed as a query (Robertson and Zaragoza 2009)."""

    k1: float = Field(default=1.2, ge=0)
    """How fast a term's count saturates."""
    b: float = Field(default=0.75, ge=0, le=1)
    """How much long documents are held back."""
    terms: int = Field(default=32, ge=1)
    """Words of a seed that make its query: those of highest tf * idf."""
    max_chars: int = Field(default=20_000, ge=100)
    """Characters of a document that are searched."""
    top: int = Field(default=50, ge=1)
    """Documents that each seed finds."""
    fusion: float = Field(default=60.0, gt=0)
    """k of reciprocal rank fusion: a document's score is the sum over seeds of 1 / (k + rank)
    (Cormack, Clarke and Buettcher 2009)."""
    min_seeds: int = Field(default=2, ge=1)
    """Seeds that must find a document for it to be recalled."""


class SearchConfig(StageConfig):
    """How text like the seeds is found in a pool."""

    method: Literal["classifier", "bm25", "both"] = "classifier"
    """``both`` recalls what either finds."""
    rounds: RoundsConfig = RoundsConfig()
    """Classifier recall."""
    bm25: Bm25Config = Bm25Config()
    """BM25."""
    max_seeds: int = Field(default=1000, ge=1)
    """Most seeds, chosen by hash."""
    workers: int | None = execution(None, ge=1)
    """Parts worked on at once; by default the cluster's CPUs."""

    @property
    def classifies(self) -> bool:
        """Whether classifier recall runs."""
        return self.method != "bm25"

    @property
    def searches(self) -> bool:
        """Whether BM25 runs."""
        return self.method != "classifier"


class RecallConfig(SearchConfig):
    """Find text like a few hundred seeds in a pool."""

    seeds: list[Seed] = Field(min_length=1)
    """``{source: NAME}`` of the pool, or ``{path: FILE, text_field: ...}``."""
    domain: str = Field(default="recalled", min_length=1)
    """Domain that recalled documents carry in the selection."""
    host_share: float = Field(default=0.1, ge=0, le=1)
    """Hosts of which more than this share is recalled are named (DeepSeekMath: 10 %)."""
    min_host_documents: int = Field(default=10, ge=1)
    """Hosts with fewer documents are not named."""
    examples: int = Field(default=5, ge=0)
    """Recalled documents shown in the report."""

    @model_validator(mode="after")
    def _seeds_have_texts(self) -> "RecallConfig":
        for seed in self.seeds:
            if seed.source is None and seed.path is None:
                raise ValueError("seeds: recall takes a source or a path")
        return self


class CompleteConfig(SearchConfig):
    """Fill the domains that a corpus is short of from a pool."""

    target: dict[str, float] = Field(min_length=1)
    """Domain -> share of the text that is wanted; shares are scaled to 1."""
    total_bytes: int | None = Field(default=None, gt=0)
    """UTF-8 bytes of train text wanted in all; by default what the corpus holds."""
    domains: DomainsConfig = DomainsConfig()
    """What a domain of the corpus is."""
    seeds: dict[str, Seed] = Field(default_factory=dict)
    """Domain -> examples from a file, for domains of which the corpus holds too little."""

    @model_validator(mode="after")
    def _targets(self) -> "CompleteConfig":
        if any(share <= 0 for share in self.target.values()):
            raise ValueError("target: shares are above 0")
        for domain, seed in self.seeds.items():
            if seed.path is None or domain not in self.target:
                raise ValueError(f"seeds.{domain}: takes a path, for a domain of target")
        return self


def recall_inputs(config: RecallConfig) -> list[ExternalInput]:
    """Files of seeds, hashed; raises ConfigError where one cannot be read."""
    from corpus.value.outside import seed_input

    return [
        seed_input(seed.path, f"seeds.{number}.path")
        for number, seed in enumerate(config.seeds)
        if seed.path is not None
    ]


def complete_inputs(config: CompleteConfig) -> list[ExternalInput]:
    """Files of seeds, hashed; raises ConfigError where one cannot be read."""
    from corpus.value.outside import seed_input

    return [
        seed_input(seed.path, f"seeds.{domain}.path")
        for domain, seed in sorted(config.seeds.items())
        if seed.path is not None
    ]
