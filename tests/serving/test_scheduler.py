import random

from serving.engine.scheduler import Scheduler, Sequence


def test_first_come_first_served_over_any_history() -> None:
    rng = random.Random()
    scheduler = Scheduler(3)
    arrived: list[Sequence] = []
    admitted: list[Sequence] = []
    alive: list[Sequence] = []
    for step in range(400):
        if rng.random() < 0.4:
            sequence = Sequence(str(step), 1, 1)
            arrived.append(sequence)
            alive.append(sequence)
            scheduler.add(sequence)
        if alive and rng.random() < 0.35:
            gone = rng.choice(alive)
            alive.remove(gone)
            if gone.slot < 0:
                arrived.remove(gone)
            scheduler.remove(gone)
        admitted += scheduler.admit()
        assert {s.slot for s in scheduler.running.values()} == set(scheduler.running)
        assert len(scheduler.running) == min(3, len(alive))
        assert len(scheduler.running) + len(scheduler.waiting) == len(alive)
        assert scheduler.has_work == bool(alive)
    assert admitted == arrived[: len(admitted)]


def test_length_counts_prompt_and_output() -> None:
    assert Sequence("a", 5, 10, generated=3).length == 8
