"""Which documents are held out: by group, so that what is held out is not trained on.

A group is a cluster of near duplicates together with the clusters that contain a good part
of it, or that it contains: near duplicates alone miss a page that quotes half of another.
"""

from collections.abc import Collection

import numpy as np
from blake3 import blake3

from contracts.documents import TRAIN, VALIDATION


def split_of(group: int, seed: int, validation_share: float) -> str:
    """``train`` or ``validation``, from a hash of seed and group."""
    raw = blake3(f"split\x00{seed}\x00{group}".encode()).digest(8)
    held_out = int.from_bytes(raw, "little") < validation_share * 2**64
    return VALIDATION if held_out else TRAIN


def splits_of(
    groups: np.ndarray, large: Collection[int], seed: int, validation_share: float
) -> list[str]:
    """The split of every document, from its group.

    ``large`` are groups of several clusters that alone hold more than half of what should be
    held out. They always go to ``train``: drawn, one would make the validation split its own.
    """
    numbers, back = np.unique(groups, return_inverse=True)
    large = set(large)
    found = [
        TRAIN if number in large else split_of(number, seed, validation_share)
        for number in numbers.tolist()
    ]
    return [found[place] for place in back.tolist()]
