"""``summary.json``: what a run of benchmarks found, per model, benchmark and group."""

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from contracts.score import Score
from evaluation.benchmark import Benchmark
from evaluation.methods.registry import method_of
from evaluation.samples import ALL, Sample


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
    """Largest allowed distance: two standard errors of one pass, 0 for an oracle."""
    draws: int = 1
    """Passes over the samples, all of them counted in ``n`` and ``mean``."""
    standard_error: float = 0.0
    """Of a fair guesser's mean over ``n`` guesses."""
    false_alarm: float = 0.0
    """Exact probability that a fair guesser is further away than the tolerance."""
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
    groups = {sample.id: sample.group for sample in samples}
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
            **_counts(row for row in rows if metric.group in (ALL, groups[row.sample_id])),
        )
        for metric in method_of(benchmark).metrics(benchmark, samples, rows)
    ]


def _counts(rows: Iterable[Score]) -> dict[str, int]:
    """What went wrong among the rows of one group."""
    own = list(rows)
    return {
        "errors": sum(row.error is not None for row in own),
        "truncated": sum(row.truncated for row in own),
        "failed_extractions": sum(row.extracted is None and row.error is None for row in own),
    }
