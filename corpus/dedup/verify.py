"""Which documents of a bucket are linked: all of them, or those that are alike enough.

With a check, the first document of a bucket leads it, and all that are alike enough are linked
to it; of the rest the first leads again, for a few rounds. So the work grows with the bucket's
size, not with its square.
"""

import numpy as np

from corpus.dedup.config import DedupConfig
from corpus.dedup.groups import starts
from corpus.dedup.sketches import Sketches

_MOST_LEADERS = 8


class Checker:
    """Compares documents by where their sketches lie."""

    def __init__(
        self, sketches: Sketches, config: DedupConfig, shards: np.ndarray, rows: np.ndarray
    ) -> None:
        self._sketches = sketches
        self._config = config
        self._shards = shards
        self._rows = rows
        self._known: dict[tuple[int, int], bool] = {}

    @property
    def needed(self) -> bool:
        """False where every pair of a bucket is linked."""
        return self._config.verify != "none"

    def alike(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """True for pairs (numbers of documents) that reach the threshold, bool."""
        places = np.stack([self._place(one), self._place(other)])
        pairs, back = np.unique(np.sort(places, axis=0), axis=1, return_inverse=True)
        new = [p for p in map(tuple, pairs.T.tolist()) if p not in self._known]
        for pair, found in zip(new, self._similarities(new), strict=True):
            self._known[pair] = found >= self._config.threshold
        known = np.array([self._known[p] for p in map(tuple, pairs.T.tolist())], bool)
        return known[back.reshape(-1)]

    def _place(self, numbers: np.ndarray) -> np.ndarray:
        return (self._shards[numbers].astype(np.int64) << 32) | self._rows[numbers].astype(np.int64)

    def _similarities(self, pairs: list[tuple[int, int]]) -> list[float]:
        exact = self._config.verify == "exact"
        compare = jaccard if exact else _agreement
        opened: dict[int, np.ndarray] = {}

        def get(place: int) -> np.ndarray:
            shard = place >> 32
            if shard not in opened:
                read = self._sketches.shingles if exact else self._sketches.signatures
                opened[shard] = read(shard)  # type: ignore[assignment]
            return opened[shard][place & 0xFFFFFFFF]

        return [compare(get(one), get(other)) for one, other in pairs]


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Jaccard similarity of two sorted sets."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / max(len(one) + len(other) - common, 1)


def _agreement(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean(one == other))


def bucket_links(keys: np.ndarray, check: Checker) -> np.ndarray:
    """Links between documents of equal key, numbers of documents, shape (links, 2)."""
    order = np.argsort(keys, kind="stable")
    if not check.needed:
        same = keys[order[1:]] == keys[order[:-1]]
        return np.stack([order[:-1][same], order[1:][same]], axis=1)
    links = [np.empty((0, 2), np.int64)]
    for _ in range(_MOST_LEADERS):
        first = starts(keys[order])
        sizes = np.diff(np.append(first, len(order)))
        leads = np.zeros(len(order), bool)
        leads[first] = True
        leaders = np.repeat(order[first], sizes)
        one, other = leaders[~leads], order[~leads]
        if not len(one):
            break
        good = check.alike(one, other)
        links.append(np.stack([one[good], other[good]], axis=1))
        order = other[~good]
    return np.concatenate(links)
