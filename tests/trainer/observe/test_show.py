"""``inkstone train show``: of a real training, and of one that was killed and run again."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clusters.artifact import Artifact
from clusters.config import ConfigError
from trainer.cli import app
from trainer.observe.report import read_run


def show(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["show", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def write_events(path: Path, *events: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


def step(time: float, number: int, loss: float) -> dict[str, Any]:
    return {
        "time": time, "event": "step", "step": number, "loss": loss, "step_seconds": 1.0,
        "data_seconds": 0.25, "tokens_per_second": 100.0 * number,
    }  # fmt: skip


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A run whose first driver died after step 3 and went on from step 2, beside another's log."""
    run = tmp_path / "runs" / "try"
    start = {"event": "started", "total_steps": 6, "world_size": 1, "artifact": "abc"}
    write_events(
        run / "logs" / "20261122-0100" / "pretrain" / "timings.jsonl",
        {"time": 0.0, **start, "artifact": "of an older config"},
        step(5.0, 1, 99.0),
    )
    write_events(
        run / "logs" / "20261122-0200" / "pretrain" / "timings.jsonl",
        {"time": 100.0, **start},
        {"time": 101.0, "event": "validation", "step": 0, "losses": {"en": 9.0}},
        *(step(101.0 + i, i, 9.0 - i) for i in (1, 2, 3)),
    )
    write_events(
        run / "logs" / "20261122-0300" / "pretrain" / "timings.jsonl",
        {"time": 110.0, **start},
        {"time": 111.0, "event": "resumed", "step": 2, "samples": 8},
        *(step(109.0 + i, i, 8.0 - i) for i in (3, 4)),
        {"time": 114.0, "event": "validation", "step": 4, "losses": {"en": 4.5}},
    )
    (run / "run.json").write_text("{}")
    return run


def test_a_killed_run_is_one_run(killed: Path) -> None:
    for path in (killed, killed / "pretrain"):
        found = json.loads(show(path, "--json"))
        assert (found["status"], found["step"], found["total_steps"]) == ("unfinished", 4, 6)
        assert [entry["step"] for entry in found["steps"]] == [1, 2, 3, 4]
        assert [entry["loss"] for entry in found["steps"]] == [8.0, 7.0, 5.0, 4.0]
        assert found["restarts"] == 1
        assert found["replayed_steps"] == 1
        # 6 s until the new start, 1 s of reading, the third step taken twice: 8 s of 14 s
        assert found["lost_seconds"] == 8.0
        assert found["goodput"] == pytest.approx(1 - 8 / 14)
        assert found["data_wait"] == 0.25
        assert found["eta_seconds"] == 2.0
        assert found["validation_last"] == {"en": 4.5}
    text = show(killed)
    assert "4 of 6" in text
    assert "42.9%; 1 restarts cost 8.0 s, 1 steps again" in text
    assert "9.0000 -> 4.5000" in text


def test_a_real_run_has_its_figures(base: Artifact, tmp_path: Path) -> None:
    store = base.directory.parent.parent
    timings = store / "logs" / "stage" / "timings.jsonl"
    found = json.loads(show(timings, "--json", "--plot", tmp_path / "run.svg"))
    assert found["status"] == "finished"
    assert found["artifact"] == base.directory.name
    metrics = [json.loads(line) for line in base.path("metrics.jsonl").read_text().splitlines()]
    losses = [round(entry["loss"], 4) for entry in metrics if "loss" in entry]
    assert [entry["loss"] for entry in found["steps"]] == losses
    assert 0 < found["mfu"] < 1
    assert found["hfu"] == found["mfu"]
    assert found["goodput"] == 1.0
    assert found["memory_bytes"] > 0
    assert found["expected_memory_bytes"] > 12 * found["parameters"]
    assert found["tokens_per_second_per_device"] == pytest.approx(
        found["tokens_per_second"] / found["devices"], rel=1e-2
    )
    picture = (tmp_path / "run.svg").read_text()
    assert picture.count('<g id="axes_') == 4
    show(timings, "--plot", tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text()
    assert "<svg" in page
    assert f"{found['goodput']:.1%}" in page


def test_the_same_run_gives_the_same_picture(killed: Path, tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        show(killed, "--plot", tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_what_cannot_be_shown_is_said(killed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no training was logged there"):
        read_run(tmp_path)
    with pytest.raises(ConfigError, match=r"name a \.svg, \.png or \.html"):
        show(killed, "--plot", tmp_path / "picture.docx")
    empty = tmp_path / "logs" / "x" / "sft" / "timings.jsonl"
    write_events(empty)
    with pytest.raises(ConfigError, match="no training has started"):
        read_run(empty)
    write_events(empty, {"time": 1.0, "event": "started", "total_steps": 2, "artifact": "a"})
    with pytest.raises(ConfigError, match="no step has been taken yet"):
        show(empty, "--plot", tmp_path / "run.svg")
    write_events(killed / "logs" / "20261122-0400" / "sft" / "timings.jsonl")
    with pytest.raises(ConfigError, match=r"several trainings; name one: .*pretrain, .*sft"):
        read_run(killed)
