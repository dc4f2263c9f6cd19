"""The order of samples: a pure function of the store, seed, length, mixture and k.

Sample k -> domain and count (``mixture``) -> epoch and position in it -> window
(``permutation``, keyed by seed, domain and epoch) -> shard and start. There is no
index file and no state: the data state of a training run is k.
"""

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from contracts.manifest import canonical_json
from corpus.token_store.mixture import Mixture, Schedule, proportional_weights
from corpus.token_store.permutation import Permutation
from corpus.token_store.reader import TokenStore

_CACHED_PERMUTATIONS = 64


@dataclass(frozen=True)
class Location:
    """Where sample ``k`` lies."""

    k: int
    domain: str
    epoch: int
    """How often the domain was seen whole before."""
    window: int
    """Number of the window inside its domain."""
    shard: int
    """Index into ``store.meta.shards``."""
    start: int
    """First token inside the shard."""


@dataclass(frozen=True)
class Sample:
    """One training sample."""

    location: Location
    tokens: np.ndarray
    """Shape (sequence_length + 1,), the store's dtype, read-only: inputs and targets."""
    cu_seqlens: np.ndarray
    """Shape (docs + 1,), int32, from 0 to sequence_length: documents among the inputs."""
    uids: np.ndarray
    """Shape (docs,), u64: the documents the inputs come from."""


@dataclass(frozen=True)
class _Domain:
    name: str
    shards: list[int]
    first_window: list[int]
    """Windows before each shard, one more entry than shards."""
    tail: int

    @property
    def windows(self) -> int:
        return self.first_window[-1]

    def locate(self, window: int) -> tuple[int, int]:
        """Shard index and number of the window inside that shard."""
        place = bisect_right(self.first_window, window) - 1
        return self.shards[place], window - self.first_window[place]


class Sampler:
    """Answers what sample k is, for any k >= 0, in any order.

    Windows start every ``sequence_length`` tokens inside a shard and hold one token
    more, the last target; windows never span shards. What is left at a shard's end is
    its tail: never sampled, counted by ``tail_tokens``.
    """

    def __init__(
        self, store: TokenStore, sequence_length: int, seed: int, schedule: Schedule | None = None
    ) -> None:
        """Prepare sampling.

        Args:
            store: the open token store.
            sequence_length: inputs per sample, in tokens.
            seed: another seed gives another order of windows.
            schedule: (first sample, weight per domain); by default all domains in
                proportion to their windows.

        Raises:
            ValueError: no window fits, a wrong schedule, or a weight on a domain
                without windows.
        """
        if sequence_length < 1:
            raise ValueError(f"sequence_length: {sequence_length}, must be at least 1")
        self.store = store
        self.sequence_length = sequence_length
        self.seed = seed
        self._domains = {name: _domain(store, name, sequence_length) for name in store.domains}
        sizes = {name: domain.windows for name, domain in self._domains.items()}
        if not any(sizes.values()):
            raise ValueError(
                f"{store.root}: no shard holds {sequence_length + 1} tokens; "
                "take a shorter sequence or more text"
            )
        if schedule is None:
            schedule = [(0, proportional_weights(sizes))]
        self.schedule = schedule
        self._mixture = Mixture(store.domains, self.schedule)
        for from_k, weights in self.schedule:
            for name, weight in weights.items():
                if weight and not sizes[name]:
                    raise ValueError(
                        f"mixture schedule, segment from {from_k}: {name}: no shard of it "
                        f"holds {sequence_length + 1} tokens"
                    )
        self._permutations: OrderedDict[tuple[str, int], Permutation] = OrderedDict()

    @property
    def tail_tokens(self) -> int:
        """Tokens at shard ends that no window covers."""
        return sum(domain.tail for domain in self._domains.values())

    def windows_per_epoch(self, domain: str | None = None) -> int:
        """Windows of one domain, or of all."""
        if domain is not None:
            return self._domains[domain].windows
        return sum(item.windows for item in self._domains.values())

    def locate(self, k: int) -> Location:
        """Where sample ``k`` lies.

        Raises:
            IndexError: ``k`` is negative.
        """
        name, count = self._mixture.locate(k)
        domain = self._domains[name]
        epoch, position = divmod(count, domain.windows)
        window = self._permutation(name, epoch)(position)
        shard, inside = domain.locate(window)
        return Location(k, name, epoch, window, shard, inside * self.sequence_length)

    def sample(self, k: int) -> Sample:
        """Tokens and document boundaries of sample ``k``; views, nothing is copied."""
        location = self.locate(k)
        tokens = self.store.window(location.shard, location.start, self.sequence_length + 1)
        inside = self.store.documents(location.shard, location.start, self.sequence_length)
        return Sample(location, tokens, inside.cu_seqlens, inside.uids)

    def _permutation(self, domain: str, epoch: int) -> Permutation:
        found = self._permutations.get((domain, epoch))
        if found is None:
            key = canonical_json([self.seed, domain, epoch])
            found = Permutation(self._domains[domain].windows, key)
            self._permutations[domain, epoch] = found
            if len(self._permutations) > _CACHED_PERMUTATIONS:
                self._permutations.popitem(last=False)
        return found


def _domain(store: TokenStore, name: str, sequence_length: int) -> _Domain:
    shards = [i for i, shard in enumerate(store.meta.shards) if shard.domain == name]
    tokens = [store.meta.shards[i].tokens for i in shards]
    windows = [max(0, count - 1) // sequence_length for count in tokens]
    covered = [n * sequence_length + 1 if n else 0 for n in windows]
    return _Domain(name, shards, [0, *accumulate(windows)], sum(tokens) - sum(covered))
