import random
from typing import Any

import pytest

from trainer.observe.goodput import Goodput


def simulated(chance: random.Random) -> tuple[list[dict[str, Any]], dict[str, float], int, int]:
    """A run of random length with kills: its events, and who really spent the time on what."""
    clock, events = 1000.0, []
    truth: dict[str, float] = {}
    done: list[tuple[int, str, float]] = []
    saved = 0
    replayed_steps = 0

    def spend(kind: str, part: str, step: int | None = None) -> None:
        nonlocal clock
        seconds = chance.uniform(0.1, 5)
        clock += seconds
        event: dict[str, Any] = {"time": clock, "event": kind}
        if step is None:
            truth[part] = truth.get(part, 0.0) + seconds
        else:
            event["step"] = step
            done.append((step, part, seconds))
        events.append(event)

    events.append({"time": clock, "event": "started"})
    step, restarts = 0, 0
    while step < 40:
        step += 1
        spend("step", "training", step)
        if step % 7 == 0:
            spend("validation", "validating", step)
        if step % 5 == 0:
            spend("saved", "saving", step)
            saved = step
        if chance.random() < 0.1:
            restarts += 1
            spend("started", "down")
            if saved:
                spend("resumed", "loading")
                events[-1]["step"] = saved
            undone = [entry for entry in done if entry[0] > saved]
            done = [entry for entry in done if entry[0] <= saved]
            for _, part, seconds in undone:
                truth["replayed"] = truth.get("replayed", 0.0) + seconds
                replayed_steps += part == "training"
            step = saved
    for _, part, seconds in done:
        truth[part] = truth.get(part, 0.0) + seconds
    spend("finished", "finishing")
    return events, truth, restarts, replayed_steps


@pytest.mark.parametrize("_", range(20))
def test_every_second_is_counted_once_and_where_it_went(_: int) -> None:
    events, truth, restarts, replayed_steps = simulated(random.Random())
    found = Goodput.of(events)
    assert {k: v for k, v in found.parts.items() if v > 1e-6} == pytest.approx(truth)
    assert found.wall == pytest.approx(events[-1]["time"] - events[0]["time"])
    lost = sum(truth.get(part, 0.0) for part in ("down", "loading", "replayed"))
    assert found.share == pytest.approx(1 - lost / found.wall)
    assert (found.restarts, found.replayed_steps) == (restarts, replayed_steps)


def test_a_run_without_failures_lost_nothing() -> None:
    events = [{"time": 1.0 + i, "event": "step", "step": i} for i in range(1, 5)]
    assert Goodput.of([{"time": 1.0, "event": "started"}, *events]).share == 1.0
    assert Goodput().share == 1.0


def test_a_rewind_makes_steps_undone_in_one_process() -> None:
    kinds = [("started", 0), ("step", 1), ("saved", 1), ("step", 2), ("step", 3), ("resumed", 1),
             ("step", 2)]  # fmt: skip
    events = [{"time": float(i), "event": kind, "step": step} for i, (kind, step) in
              enumerate(kinds)]  # fmt: skip
    found = Goodput.of(events)
    assert found.parts["replayed"] == 2.0
    assert found.parts["loading"] == 1.0
    assert found.restarts == 0
