"""The windows of one domain: how many there are, and which shard holds which."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from corpus.token_store.reader import TokenStore


@dataclass(frozen=True)
class Domain:
    """A domain's shards, cut into windows of one length."""

    name: str
    shards: list[int]
    """Indices into ``store.meta.shards``."""
    first_window: list[int]
    """Windows before each shard, one more entry than shards."""
    tail: int
    """Tokens at shard ends that no window covers."""

    @property
    def windows(self) -> int:
        """Windows in all its shards."""
        return self.first_window[-1]

    def locate(self, window: int) -> tuple[int, int]:
        """Shard index and number of the window inside that shard."""
        place = bisect_right(self.first_window, window) - 1
        return self.shards[place], window - self.first_window[place]

    def locate_many(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``locate`` of each window, shape (n,), i64."""
        first = np.asarray(self.first_window, dtype=np.int64)
        place = np.searchsorted(first, windows, side="right") - 1
        return np.asarray(self.shards, dtype=np.int64)[place], windows - first[place]


def domain_of(store: TokenStore, name: str, sequence_length: int) -> Domain:
    """The windows of ``sequence_length`` inputs, and one more target, in a domain's shards."""
    shards = [i for i, shard in enumerate(store.meta.shards) if shard.domain == name]
    tokens = [store.meta.shards[i].tokens for i in shards]
    windows = [max(0, count - 1) // sequence_length for count in tokens]
    covered = [n * sequence_length + 1 if n else 0 for n in windows]
    return Domain(name, shards, [0, *accumulate(windows)], sum(tokens) - sum(covered))
