"""The training part of a report: loss curves out of ``metrics.jsonl``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from clusters.artifact import Artifact, ArtifactError

METRICS = "metrics.jsonl"


@dataclass
class Curves:
    """What one training stage logged, by step."""

    label: str
    train: list[tuple[int, float]] = field(default_factory=list)
    """(step, nats per loss token)."""
    validation: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Domain -> (step, nats per token)."""

    def fall(self, tokens: Mapping[str, int]) -> "Fall | None":
        """From the first validation to the last, domains weighted by their held-out tokens.

        Args:
            tokens: domain -> tokens of the validation store; a stage that is validated
                on other domains gives None.
        """
        rows = [
            DomainFall(domain, tokens[domain], points[0][1], points[-1][1])
            for domain, points in sorted(self.validation.items())
            if tokens.get(domain) and points
        ]
        return Fall(rows) if rows and len(rows) == len(self.validation) else None


@dataclass(frozen=True)
class DomainFall:
    """Validation loss of one domain, before and after training."""

    domain: str
    tokens: int
    """Tokens of the domain in the validation store: its weight."""
    first: float
    """Nats per token, before the first step."""
    last: float

    @property
    def share(self) -> float:
        """Share of the first loss that is gone."""
        return 1 - self.last / self.first


@dataclass(frozen=True)
class Fall:
    """Validation loss of all domains, before and after training."""

    domains: list[DomainFall]

    @property
    def overall(self) -> DomainFall:
        """The token-weighted mean: ``sum(tokens * loss) / sum(tokens)`` over domains."""
        total = sum(row.tokens for row in self.domains)
        first = sum(row.tokens * row.first for row in self.domains) / total
        last = sum(row.tokens * row.last for row in self.domains) / total
        return DomainFall("all, weighted by tokens", total, first, last)


def read_curves(checkpoint: Artifact) -> Curves:
    """Read a checkpoint's metrics.

    Raises:
        ArtifactError: a line is no JSON object with a step; names file and line.
    """
    curves = Curves(checkpoint.manifest.stage.split(".")[-1])
    path = checkpoint.path(METRICS)
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                _add(curves, json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ArtifactError(f"{path}:{number}: not a metrics row: {error!r}") from error
    return curves


def _add(curves: Curves, row: dict) -> None:
    """Take a row's losses; null stands for one that was no number."""
    step = int(row["step"])
    if row.get("loss") is not None:
        curves.train.append((step, float(row["loss"])))
    for domain, loss in row.get("validation", {}).items():
        if loss is not None:
            curves.validation.setdefault(domain, []).append((step, float(loss)))
