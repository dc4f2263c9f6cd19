"""The scores part of a report: figures, controls, and samples with their prompts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clusters.artifact import Artifact
from contracts.score import Score
from evaluation.jobs import read_rows
from evaluation.summary import Result, Summary


@dataclass(frozen=True)
class Shown:
    """One sample as it is shown."""

    benchmark: str
    sample_id: str
    uid: int | None
    prompt: str
    output: str
    extracted: str | None
    gold: str
    correct: bool
    error: str | None


@dataclass(frozen=True)
class ScoresPart:
    """What the report says about scores."""

    summary: Summary
    accuracies: list[Result]
    """Figures with a chance level, in order."""
    losses: list[Result]
    """Nats per token, per group."""
    label: str
    """The model whose samples are shown."""
    samples: list[Shown]


def read_scores(scores: Artifact, examples: int) -> ScoresPart:
    """Read a scores artifact; samples are those of its first model."""
    summary = Summary.model_validate_json(scores.path("summary.json").read_text(encoding="utf-8"))
    label = summary.models[0].label
    asked = {(a["benchmark"], a["sample"]["id"]): a for a in _asked(scores)}
    return ScoresPart(
        summary=summary,
        accuracies=[r for r in summary.results if r.chance is not None],
        losses=[r for r in summary.results if r.metric == "nats_per_token"],
        label=label,
        samples=_samples(scores, label, asked, examples),
    )


def _asked(scores: Artifact) -> Iterator[dict[str, Any]]:
    with open(scores.path("samples.jsonl"), encoding="utf-8") as file:
        yield from map(json.loads, file)


def _samples(
    scores: Artifact, label: str, asked: dict[tuple[str, str], dict[str, Any]], examples: int
) -> list[Shown]:
    """The first right and the first wrong samples of each accuracy benchmark."""
    taken: dict[tuple[str, bool], list[Shown]] = {}
    for path in scores.files(f"scores/part-{label}-"):
        for row in read_rows(path):
            question = asked[(row.benchmark, row.sample_id)]
            if not question["prompt"]:
                continue
            right = row.correct == 1.0
            chosen = taken.setdefault((row.benchmark, right), [])
            if len(chosen) < examples:
                chosen.append(_shown(row, question))
    order = sorted(taken, key=lambda key: (key[0], not key[1]))
    return [shown for key in order for shown in taken[key]]


def _shown(row: Score, question: dict[str, Any]) -> Shown:
    return Shown(
        benchmark=row.benchmark,
        sample_id=row.sample_id,
        uid=row.uid,
        prompt=question["prompt"],
        output=row.output,
        extracted=row.extracted,
        gold=_gold(question["sample"]),
        correct=row.correct == 1.0,
        error=row.error,
    )


def _gold(sample: dict[str, Any]) -> str:
    if "options" in sample:
        return f"{chr(ord('A') + sample['gold'])}: {sample['options'][sample['gold']]}"
    return f"{sample['a']} + {sample['b']}"
