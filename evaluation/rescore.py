"""Grades saved outputs again: extraction and grading may improve, inference is not repeated."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clusters.artifact import Artifact, ArtifactError, artifact_directory
from contracts.score import Score
from evaluation.benchmark import Benchmark, parse_benchmark
from evaluation.contestants import MODEL_FOLDER
from evaluation.evaluate import regrade
from evaluation.jobs import read_rows
from evaluation.methods.registry import method_of
from evaluation.samples import Sample
from evaluation.summary import Result, Summary, results_of
from serving.tokenizer import ChatTokenizer


@dataclass(frozen=True)
class Rescored:
    """One model on one benchmark, graded again."""

    before: Result
    """Its headline figure as saved."""
    after: Result
    changed: int
    """Rows whose grade or extracted answer is another one now."""
    rows: int


def rescore(scores: Artifact) -> Iterator[Rescored]:
    """Grade every saved output of a scores artifact with the code of today."""
    summary = Summary.model_validate_json(scores.path("summary.json").read_text(encoding="utf-8"))
    labels = {entry.model: entry.label for entry in summary.models}
    tokenizer = ChatTokenizer.load(_model_dir(scores))
    for benchmark in _benchmarks(scores):
        samples = _samples(scores, benchmark)
        for model, label in labels.items():
            old = [
                row
                for path in scores.files(f"scores/part-{label}-{benchmark.name}-")
                for row in read_rows(path)
                if row.model == model
            ]
            if not old:
                continue
            new = [regrade(tokenizer, benchmark, samples[row.sample_id], row) for row in old]
            yield _compared(label, benchmark, list(samples.values()), old, new)


def _compared(
    label: str, benchmark: Benchmark, samples: list[Sample], old: list[Score], new: list[Score]
) -> Rescored:
    return Rescored(
        before=results_of(label, benchmark, samples, old)[0],
        after=results_of(label, benchmark, samples, new)[0],
        changed=sum(a != b for a, b in zip(old, new, strict=True)),
        rows=len(old),
    )


def _benchmarks(scores: Artifact) -> list[Benchmark]:
    path = scores.path("benchmarks.json")
    return [parse_benchmark(values, str(path)) for values in json.loads(path.read_text())]


def _samples(scores: Artifact, benchmark: Benchmark) -> dict[str, Sample]:
    kind = method_of(benchmark).sample_type
    found: dict[str, Sample] = {}
    with open(scores.path("samples.jsonl"), encoding="utf-8") as file:
        for line in file:
            asked = json.loads(line)
            if asked["benchmark"] == benchmark.name:
                sample = kind.model_validate(asked["sample"])
                found[sample.id] = sample
    return found


def _model_dir(scores: Artifact) -> Path:
    """Folder of a model that was scored: its tokenizer reads the outputs."""
    store = scores.directory.parent.parent
    for parent in scores.manifest.parents:
        if parent.role in ("models", "base"):
            directory = artifact_directory(store, parent.kind, parent.fingerprint)
            return Artifact.open(directory, parent.kind).path(MODEL_FOLDER)
    raise ArtifactError(f"{scores.directory}: names no model among its parents")
