"""The stage as a whole: real engines on the session's Ray."""

import json

from clusters.artifact import Artifact
from evaluation.jobs import read_rows
from evaluation.summary import Summary


def test_every_model_has_every_figure(scores: Artifact) -> None:
    summary = Summary.model_validate_json(scores.path("summary.json").read_text())
    labels = [entry.label for entry in summary.models]
    assert labels == ["sft", "quantized", "pretrain", "unigram"]
    found = {(r.label, r.benchmark, r.metric, r.group) for r in summary.results}
    for label in ("sft", "quantized", "pretrain"):
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
    draws = {(c.engine, c.draws) for c in summary.controls}
    assert draws == {("oracle", 1), ("uniform", 4)}


def test_rows_are_whole(scores: Artifact) -> None:
    rows = [row for path in scores.files("scores/part-sft-") for row in read_rows(path)]
    names = {(row.benchmark, row.sample_id) for row in rows}
    assert len(names) == len(rows) == 24 + 48 + 12 + 12
    lines = scores.path("samples.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line) for line in lines]
    assert {(a["benchmark"], a["sample"]["id"]) for a in asked} == names
    assert all(row.error is None for row in rows)
