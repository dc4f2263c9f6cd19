"""The training part of a report: loss curves out of ``metrics.jsonl``."""

import json
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

    def mean_validation(self, index: int) -> float | None:
        """Mean over domains of the first (0) or last (-1) validation, in nats per token."""
        ends = [points[index][1] for points in self.validation.values() if points]
        return sum(ends) / len(ends) if ends else None


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
    step = int(row["step"])
    if "loss" in row:
        curves.train.append((step, float(row["loss"])))
    for domain, loss in row.get("validation", {}).items():
        curves.validation.setdefault(domain, []).append((step, float(loss)))
