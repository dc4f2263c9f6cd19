"""Config of the stage ``corpus.select``."""

from typing import Literal

from pydantic import Field, model_validator

from clusters.config import StageConfig, execution


class Range(StageConfig):
    """Values that pass, both ends included."""

    min: float | None = None
    """Lower values are dropped."""
    max: float | None = None
    """Higher values are dropped."""


class Threshold(Range):
    """What a score column must be."""

    missing: Literal["keep", "drop"] = "keep"
    """What becomes of documents that have no value in the column."""
    languages: dict[str, Range] = Field(default_factory=dict)
    """Language -> range that counts there instead."""
    sources: dict[str, Range] = Field(default_factory=dict)
    """Source -> range that counts there instead; before ``languages``."""


class DomainsConfig(StageConfig):
    """What a domain is: the parts of a mixture."""

    by: list[str] = Field(default_factory=lambda: ["source"], min_length=1)
    """``source``, ``lang`` or score columns that ``edges`` names; several are joined by ``/``."""
    edges: dict[str, list[float]] = Field(default_factory=dict)
    """Score column -> rising values at which one bucket ends and the next begins."""

    @model_validator(mode="after")
    def _edges_rise(self) -> "DomainsConfig":
        for name in self.by:
            if name not in ("source", "lang") and not self.edges.get(name):
                raise ValueError(f"by: {name!r} is neither source nor lang and has no edges")
        for name, values in self.edges.items():
            if name not in self.by or values != sorted(set(values)):
                raise ValueError(f"edges.{name}: must rise, and stand in by; got {values}")
        return self


class MixtureConfig(StageConfig):
    """How much each domain weighs."""

    weights: dict[str, float] | None = None
    """Domain -> weight; 0 drops its documents. By default by size, see ``temperature``."""
    temperature: float = Field(default=1.0, gt=0)
    """Without weights: in proportion to bytes ** (1 / temperature); 1 is by size, large values
    make all domains equal."""
    max_repeats: float | None = Field(default=None, gt=0)
    """No domain may be seen more often than this in ``train_bytes``; what its weight loses the
    others gain. Four epochs cost little (Muennighoff et al. 2023, arXiv:2305.16264)."""
    train_bytes: int | None = Field(default=None, gt=0)
    """Bytes of text that will be trained on; by default once over what is selected."""


class BudgetConfig(StageConfig):
    """At most so much train text: the best by a column."""

    bytes: int | None = Field(default=None, gt=0)
    """UTF-8 bytes of text; or give ``tokens``."""
    tokens: int | None = Field(default=None, gt=0)
    """Tokens, counted as bytes over ``bytes_per_token``."""
    bytes_per_token: float = Field(default=4.0, gt=0)
    """What the tokenizer reaches on such text."""
    by: str | None = None
    """Score column; documents without a value come last. None: by hash of seed and uid."""
    order: Literal["highest", "lowest"] = "highest"
    """Which values are taken first."""
    per_domain: bool = False
    """Share the budget between domains by their weights instead of taking the best of all."""

    @model_validator(mode="after")
    def _one_amount(self) -> "BudgetConfig":
        if (self.bytes is None) == (self.tokens is None):
            raise ValueError("a budget gives either bytes or tokens")
        return self

    @property
    def total(self) -> int:
        """Bytes."""
        return self.bytes or int((self.tokens or 0) * self.bytes_per_token)


class SelectConfig(StageConfig):
    """From score columns to what is trained on."""

    thresholds: dict[str, Threshold] = Field(
        default_factory=lambda: {"quality": Threshold(min=0.05)}
    )
    """Score column -> what it must be, asked in this order."""
    domains: DomainsConfig = DomainsConfig()
    """Parts of the mixture."""
    mixture: MixtureConfig = MixtureConfig()
    """Their weights."""
    budget: BudgetConfig | None = None
    """Upper bound on the selected train text."""
    recalled: Literal["add", "only"] = "add"
    """With selections as input: their documents stay whatever the thresholds say and keep their
    domain (``add``), or nothing else stays (``only``)."""
    workers: int | None = execution(None, ge=1)
    """Parts worked on at once; by default the cluster's CPUs."""
