"""``summary.json``: what a run of benchmarks found, per model, benchmark and group."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from contracts.score import Score
from evaluation.benchmark import Benchmark
from evaluation.methods.registry import method_of
from evaluation.samples import Sample


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelEntry(_Row):
    """One contestant: a model artifact, or a baseline that needs no model."""

    label: str
    """Short name, unique in the summary, e.g. ``sft``."""
    model: str
    """What score rows call it: the artifact's fingerprint, or the label of a baseline."""
    kind: str
    """``checkpoint``, ``quantized`` or ``baseline``."""
    role: str
    """``model``, ``base`` or ``baseline``."""


class Result(_Row):
    """One figure with its 95 % interval."""

    label: str
    benchmark: str
    version: int
    metric: str
    group: str
    """``all``, or the domain it is about."""
    mean: float
    low: float | None
    high: float | None
    standard_error: float | None
    n: int
    """Independent things it is the mean of: questions, problems or windows."""
    chance: float | None = None
    """Expected value of a uniform guesser."""
    errors: int = 0
    """Samples the engine refused; wrong in accuracies, left out of losses."""
    truncated: int = 0
    failed_extractions: int = 0
    """Answers in which no answer was found, cut ones included; they count as wrong."""


class Control(_Row):
    """What an engine of known skill got, beside what it must get."""

    benchmark: str
    engine: str
    """``oracle`` or ``uniform``."""
    metric: str
    n: int
    mean: float
    expected: float
    tolerance: float
    """Largest allowed distance: two standard errors of a guesser, 0 for an oracle."""
    draws: int = 1
    """Independent draws taken until one was within the tolerance."""
    false_alarm: float = 0.0
    """Probability that a fair guesser fails every allowed draw."""
    held: bool


class Summary(_Row):
    """Contents of ``summary.json``."""

    models: list[ModelEntry]
    results: list[Result]
    controls: list[Control]


def results_of(
    label: str, benchmark: Benchmark, samples: Sequence[Sample], rows: Sequence[Score]
) -> list[Result]:
    """Every figure of one contestant on one benchmark, the headline first."""
    counts = {
        "errors": sum(row.error is not None for row in rows),
        "truncated": sum(row.truncated for row in rows),
        "failed_extractions": sum(row.extracted is None and row.error is None for row in rows),
    }
    return [
        Result(
            label=label,
            benchmark=benchmark.name,
            version=benchmark.version,
            metric=metric.name,
            group=metric.group,
            mean=metric.estimate.mean,
            low=metric.estimate.low,
            high=metric.estimate.high,
            standard_error=metric.estimate.standard_error,
            n=metric.estimate.n,
            chance=metric.chance,
            **counts,
        )
        for metric in method_of(benchmark).metrics(benchmark, samples, rows)
    ]
