"""The verbs ``eval report``, ``eval score`` and ``eval index`` over a real run."""

import json
from operator import attrgetter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clusters.artifact import Artifact
from evaluation.cli import app
from evaluation.database import figures, open_database, rows_of
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


def test_the_database_can_be_made_anew(scores: Artifact, store: Path, tmp_path: Path) -> None:
    link = tmp_path / "runs" / "mine" / "scores"
    link.parent.mkdir(parents=True)
    link.symlink_to(scores.root)
    url = f"sqlite:///{tmp_path}/new.db"
    whole = scores.manifest.stats["out"]["scores"]
    for added in (whole, 0):
        shown = CliRunner().invoke(app, ["index", str(link), "--db", url, "--json"])
        assert shown.exit_code == 0, shown.output
        done = json.loads(shown.stdout)
        assert (done["run"], done["stage"], done["rows"]) == ("mine", "scores", whole)
        assert done["added"] == added
    with (
        open_database(url) as new,
        open_database(f"sqlite:///{store}/scores.db") as old,
    ):
        name = scores.directory.name
        wanted = [row.model_copy(update={"latency_ms": None}) for row in rows_of(old, name)]
        key = attrgetter("model", "benchmark", "sample_id")
        assert sorted(rows_of(new, name), key=key) == sorted(wanted, key=key)
        assert [f.result for f in figures(new)] == [f.result for f in figures(old)]
