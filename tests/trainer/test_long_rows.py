"""Rows of thousands of positions, far beyond what the model was first trained on."""

import random
from pathlib import Path

from tests.trainer.ranks import SHAPE, Run, run_here, run_ranks
from tests.trainer.test_steppers import check_equal

LENGTH = 3072


def test_long_rows_shared_by_two_ranks_take_the_steps_of_one(tmp_path: Path):
    """With a larger rotary base, documents that cross the border between the ranks, and layers
    that are computed again: what a run on 200,000 positions is made of."""
    seed = random.randrange(1000)
    model = {**SHAPE.model_dump(), "rope_theta": 5e6, "max_positions": LENGTH}
    options = {"model": model, "sequence_length": LENGTH, "batch": 1}
    other = {"steps": 2, "options": options, "length": LENGTH}
    wanted = run_here(Run(str(tmp_path / "plain"), {"workers": 1}, seed, **other))
    parallel = {"workers": 2, "sequence_parallel": 2, "recompute": "full"}
    (found,) = run_ranks(2, Run(str(tmp_path / "shared"), parallel, seed, **other))
    check_equal(found, wanted)
    base = {**model, "rope_theta": 1e4}
    small = run_here(
        Run(
            str(tmp_path / "base"),
            {"workers": 1},
            seed,
            **{**other, "options": {**options, "model": base}},
        )
    )
    assert small.losses != wanted.losses, "the base reaches the angles"
