import random

import numpy as np

from corpus.split import split_of, splits_of


def test_split_shares_and_seeds() -> None:
    rng = random.Random()
    numbers = [rng.getrandbits(64) for _ in range(4000)]
    held_out = {n for n in numbers if split_of(n, 7, 0.05) == "validation"}
    assert 120 < len(held_out) < 280
    assert held_out != {n for n in numbers if split_of(n, 8, 0.05) == "validation"}
    assert all(split_of(n, 7, 0.0) == "train" for n in numbers[:100])


def test_every_document_has_its_groups_split_and_large_groups_go_to_train() -> None:
    rng = random.Random()
    groups = np.array([rng.getrandbits(64) for _ in range(300)] * 2, np.uint64)
    large = groups[:5].tolist()
    expected = ["train" if group in large else split_of(group, 1, 0.4) for group in groups.tolist()]
    assert splits_of(groups, large, 1, 0.4) == expected
    assert "validation" in expected
