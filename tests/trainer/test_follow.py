import io
import json
from pathlib import Path

import pytest

from clusters.progress import Progress
from trainer.follow import Follower
from trainer.metrics import MetricsLog


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def write_run(path: Path) -> None:
    log = MetricsLog(path)
    log.started(4)
    log.resume([], 2, 20)
    log.say("a checkpoint was passed over")
    log.step(
        3, samples=30, loss=1.5, lr=0.1, grad_norm=2.0, loss_tokens=9, data=7, tokens=100,
        seconds=2.0, data_seconds=0.1,
    )  # fmt: skip


def test_what_is_written_while_it_follows_is_shown(tmp_path: Path, stream: io.StringIO):
    path = tmp_path / "timings.jsonl"
    MetricsLog(path).failed("an older run's end")
    progress = Progress(stream)
    with progress.task("training", unit="steps") as task:
        follower = Follower(path, task, progress)
        with follower.following():
            write_run(path)
            with open(path, "a") as file:
                file.write('{"event": "step", "st')  # a worker killed in the middle of a line
                file.write("\n")
            MetricsLog(path).finished()
    assert follower.finished
    assert follower.failure is None
    shown = stream.getvalue()
    assert "resumed at step 2, sample 20" in shown
    assert "a checkpoint was passed over" in shown
    assert "3/4 steps" in shown
    assert "loss 1.500, 50 tokens/s" in shown


def test_a_failure_is_kept(tmp_path: Path, stream: io.StringIO):
    path = tmp_path / "timings.jsonl"
    progress = Progress(stream)
    with progress.task("training", unit="steps") as task:
        follower = Follower(path, task, progress)
        with follower.following():
            MetricsLog(path).failed("step 3: loss nan")
    assert follower.failure == "step 3: loss nan"
    assert not follower.finished


def test_metrics_hold_nothing_that_differs_between_runs(tmp_path: Path):
    logs = [MetricsLog(tmp_path / "t.jsonl"), MetricsLog(None)]
    for seconds, log in enumerate(logs, 1):
        log.step(
            1, samples=2, loss=0.5, lr=0.1, grad_norm=1.0, loss_tokens=3, data=7, tokens=4,
            seconds=float(seconds), data_seconds=0.0,
        )  # fmt: skip
        log.validation(1, 2, {"docs": 0.25})
    assert logs[0].lines == logs[1].lines
    assert json.loads(logs[0].lines[1])["validation"] == {"docs": 0.25}
