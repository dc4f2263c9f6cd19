"""The verbs ``eval report`` and ``eval score`` over a real run."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clusters.artifact import Artifact
from evaluation.cli import app
from evaluation.jobs import read_rows, write_rows
from evaluation.rescore import rescore


def test_report_lists_what_the_run_found(scores: Artifact, store: Path) -> None:
    url = f"sqlite:///{store}/scores.db"
    shown = CliRunner().invoke(app, ["report", "--db", url, "--json"])
    assert shown.exit_code == 0, shown.output
    rows = json.loads(shown.stdout)
    summary = json.loads(scores.path("summary.json").read_text())
    assert [row["result"] for row in rows] == summary["results"]
    assert {row["artifact"] for row in rows} == {scores.directory.name}
    table = CliRunner().invoke(app, ["report", "--db", url], env={"COLUMNS": "200"})
    assert "circular_accuracy" in table.stdout
    nothing = CliRunner().invoke(app, ["report", "--db", url, "--run", "none", "--json"])
    assert json.loads(nothing.stdout) == []


def test_scoring_again_changes_nothing(scores: Artifact) -> None:
    shown = CliRunner().invoke(app, ["score", str(scores.directory), "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert len(found) == 3 * 4 + 1
    assert all(one["changed"] == 0 and one["before"] == one["after"] for one in found)


def test_scoring_again_mends_wrong_grades(
    scores: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Saved grades are turned over in a copy: grading again turns them back."""
    for path in scores.files("scores/"):
        rows = read_rows(path)
        if rows[0].benchmark != "heldout_loss":
            rows = [row.model_copy(update={"correct": 1 - row.correct}) for row in rows]
        write_rows(tmp_path / path.name, rows)
    real = Artifact.files

    def files(artifact: Artifact, prefix: str = "") -> list[Path]:
        return [tmp_path / path.name for path in real(artifact, prefix)]

    monkeypatch.setattr(Artifact, "files", files)
    found = {(one.after.label, one.after.benchmark): one for one in rescore(scores)}
    summary = json.loads(scores.path("summary.json").read_text())
    for result in reversed(summary["results"]):  # the headline comes first, so it wins
        one = found[result["label"], result["benchmark"]]
        if result["metric"] == one.after.metric and result["group"] == one.after.group:
            assert one.after.mean == result["mean"]
    assert all(one.changed == one.rows for key, one in found.items() if key[1] != "heldout_loss")
