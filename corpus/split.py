"""Which documents are held out: by group, so that what is held out is not trained on.

A group is a cluster of near duplicates together with the clusters that contain a good part
of it, or that it contains: near duplicates alone miss a page that quotes half of another.
"""

import numpy as np
from blake3 import blake3

from contracts.documents import TRAIN, VALIDATION
from corpus.config import SplitConfig
from corpus.dedup.components import components
from corpus.dedup.paragraphs import Paragraphs, containment_links


def split_of(group: int, seed: int, validation_share: float) -> str:
    """``train`` or ``validation``, from a hash of seed and group."""
    raw = blake3(f"split\x00{seed}\x00{group}".encode()).digest(8)
    held_out = int.from_bytes(raw, "little") < validation_share * 2**64
    return VALIDATION if held_out else TRAIN


def split_groups(
    clusters: np.ndarray, sizes: np.ndarray, paragraphs: Paragraphs, config: SplitConfig
) -> np.ndarray:
    """Group of every document, u64, shape (documents,): the smallest cluster in it.

    Args:
        clusters: u64, shape (documents,).
        sizes: UTF-8 bytes of the texts, shape (documents,).
        paragraphs: of these documents.
        config: the thresholds.
    """
    numbers, owners = np.unique(clusters, return_inverse=True)
    links = containment_links(
        owners[paragraphs.rows],
        paragraphs.hashes,
        paragraphs.sizes,
        _smallest(owners, sizes, len(numbers)),
        max_share=config.max_containment,
        max_owners=config.max_paragraph_clusters,
    )
    return numbers[components(len(numbers), links)][owners]


def decide(
    clusters: np.ndarray, groups: np.ndarray, sizes: np.ndarray, config: SplitConfig, seed: int
) -> list[str]:
    """The split of every document.

    A group of several clusters that alone holds more than half of what should be held out
    always goes to ``train``: drawn, it would make the validation split one family's.
    """
    numbers, first, owners = np.unique(clusters, return_index=True, return_inverse=True)
    found, place, members = np.unique(groups[first], return_inverse=True, return_counts=True)
    text = np.bincount(place, _smallest(owners, sizes, len(numbers)), len(found))
    large = (members > 1) & (text > config.validation_share / 2 * text.sum())
    splits = {
        group: TRAIN if too_large else split_of(group, seed, config.validation_share)
        for group, too_large in zip(found.tolist(), large.tolist(), strict=True)
    }
    return [splits[group] for group in groups.tolist()]


def _smallest(owners: np.ndarray, sizes: np.ndarray, count: int) -> np.ndarray:
    """Size of each owner's smallest document, shape (count,): one of them will stay."""
    smallest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(smallest, owners, sizes)
    return smallest
