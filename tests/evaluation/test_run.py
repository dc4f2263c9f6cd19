"""The stage as a whole: real engines on the session's Ray."""

import json
from pathlib import Path

import pytest

from clusters.artifact import Artifact
from clusters.execute import run_stage
from clusters.registry import resolve
from evaluation.jobs import read_rows
from evaluation.run import RunConfig
from evaluation.summary import Summary

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def inputs(
    checkpoints: list[Artifact], tokens: Artifact, questions: Artifact
) -> dict[str, list[Artifact]]:
    base, tuned = checkpoints
    return {"models": [tuned], "base": [base], "tokens": [tokens], "questions": [questions]}


@pytest.fixture(scope="module")
def scores(store: Path, inputs: dict[str, list[Artifact]], ray_session: None) -> Artifact:
    config = RunConfig(limit=12, block_size=5)
    return run_stage(resolve("evaluation.run"), config, inputs, store=store, name="scores")


def test_every_model_has_every_figure(scores: Artifact) -> None:
    summary = Summary.model_validate_json(scores.path("summary.json").read_text())
    labels = [entry.label for entry in summary.models]
    assert labels == ["sft", "pretrain", "unigram"]
    found = {(r.label, r.benchmark, r.metric, r.group) for r in summary.results}
    for label in ("sft", "pretrain"):
        assert (label, "docs_choice", "circular_accuracy", "all") in found
        assert (label, "docs_choice_text", "accuracy", "all") in found
        assert (label, "arithmetic", "accuracy", "all") in found
    for label in labels:
        assert (label, "heldout_loss", "bits_per_byte", "docstrings") in found


def test_controls_hold(scores: Artifact) -> None:
    summary = Summary.model_validate_json(scores.path("summary.json").read_text())
    assert {c.engine for c in summary.controls} == {"oracle", "uniform"}
    assert all(c.held for c in summary.controls)
    assert all(c.mean == 1.0 for c in summary.controls if c.engine == "oracle")


def test_rows_are_whole(scores: Artifact) -> None:
    rows = [row for path in scores.files("scores/part-sft-") for row in read_rows(path)]
    names = {(row.benchmark, row.sample_id) for row in rows}
    assert len(names) == len(rows) == 24 + 48 + 12 + 12
    asked = [json.loads(line) for line in open(scores.path("samples.jsonl"), encoding="utf-8")]
    assert {(a["benchmark"], a["sample"]["id"]) for a in asked} == names
    assert all(row.error is None for row in rows)
