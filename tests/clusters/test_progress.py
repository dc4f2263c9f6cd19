import io
import time

import pytest

from clusters.progress import Progress


def test_what_was_done_before_does_not_count_towards_the_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    out = io.StringIO()
    with Progress(stream=out).task("work", 100, "steps") as task:
        now[0] += 5
        task.resume(80)
        now[0] += 10
        task.update(90)
        assert task.line() == "work: 90/100 steps (90 %), ETA 10 s, 1 steps/s"


def test_nothing_done_yet_has_no_eta() -> None:
    with Progress(stream=io.StringIO()).task("work", 100, "steps") as task:
        task.resume(80)
        assert "ETA" not in task.line()
