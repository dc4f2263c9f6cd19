"""Another number of workers, another way to shard: the same samples, the same curve."""

import random
from pathlib import Path

import pytest

from tests.trainer.ranks import Result, Run, run_here, run_ranks

LEGS = {
    "zero 1": ({"zero_stage": 1}, {"zero_stage": 1}, {"zero_stage": 1}),
    "zero 3": ({"zero_stage": 3}, {"zero_stage": 3}, {"zero_stage": 3}),
    "zero 2, 0, 3": ({"zero_stage": 2}, {"zero_stage": 0}, {"zero_stage": 3}),
}


def check_same_curve(found: Result, wanted: Result, tolerance: float) -> None:
    """Exactly the same samples at every step; losses within ``tolerance`` nats."""
    assert found.data == wanted.data
    assert [line["samples"] for line in found.lines] == [line["samples"] for line in wanted.lines]
    assert found.losses == pytest.approx(wanted.losses, abs=tolerance)


def test_one_worker_goes_on_with_the_state_of_two_and_back(tmp_path: Path):
    seed = random.randrange(1000)
    wanted = run_here(Run(str(tmp_path / "undisturbed"), {"workers": 1}, seed))
    root = str(tmp_path / "moved")
    run_here(Run(root, {"workers": 1}, seed, stop_after=2))
    stage = random.choice([1, 2, 3])
    run_ranks(2, Run(root, {"workers": 2, "zero_stage": stage}, seed, stop_after=4))
    found = run_here(Run(root, {"workers": 1}, seed))
    assert found.world_sizes == [(0, 1), (2, 2), (4, 1)]
    check_same_curve(found, wanted, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_three_two_workers(tmp_path: Path, precision: str):
    """Killed in its third and fifth of 9 steps, it goes on with 3 and again 2 workers."""
    seed = random.randrange(1000)
    common = {"seed": seed, "steps": 9, "precision": precision}
    undisturbed = [
        Run(str(tmp_path / name / "whole"), {"workers": 2, **legs[0]}, **common)
        for name, legs in LEGS.items()
    ]
    wanted = run_ranks(2, *undisturbed)
    stops: list[int | None] = [2, 4, None]
    for leg, (ranks, stop) in enumerate(zip((2, 3, 2), stops, strict=True)):
        runs = [
            Run(str(tmp_path / name), {"workers": ranks, **legs[leg]}, stop_after=stop, **common)
            for name, legs in LEGS.items()
        ]
        found = run_ranks(ranks, *runs)
    for name, one, other in zip(LEGS, found, wanted, strict=True):
        largest = max(abs(a - b) for a, b in zip(one.losses, other.losses, strict=True))
        print(precision, name, "largest difference in nats:", largest)
        assert one.world_sizes == [(0, 2), (2, 3), (4, 2)]
        check_same_curve(one, other, 1e-3)
