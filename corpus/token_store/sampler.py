"""The order of samples: a pure function of the store, seed, length, mixture and k.

Sample k -> domain and count (``mixture``) -> epoch and position in it -> window
(``permutation``, keyed by seed, domain and epoch) -> shard and start. There is no
index file and no state: the data state of a training run is k.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from contracts.manifest import canonical_json
from corpus.token_store.batch import Batch, Locations
from corpus.token_store.domains import domain_of
from corpus.token_store.gather import Gather
from corpus.token_store.mixture import Mixture, Schedule, proportional_weights
from corpus.token_store.permutation import Permutation, permute
from corpus.token_store.reader import TokenStore

_CACHED_PERMUTATIONS = 64
_PLAN = 1 << 14
"""Samples that are located in one go, so that numpy's calls cost little per sample."""
_CACHED_PLANS = 4


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
            schedule: (first sample, weight per domain); by default the store's own weights,
                where it has none all domains in proportion to their windows.

        Raises:
            ValueError: no window fits, a wrong schedule, or a weight on a domain
                without windows.
        """
        if sequence_length < 1:
            raise ValueError(f"sequence_length: {sequence_length}, must be at least 1")
        self.store = store
        self.sequence_length = sequence_length
        self.seed = seed
        self._domains = {name: domain_of(store, name, sequence_length) for name in store.domains}
        sizes = {name: domain.windows for name, domain in self._domains.items()}
        if not any(sizes.values()):
            raise ValueError(
                f"{store.root}: no shard holds {sequence_length + 1} tokens; "
                "take a shorter sequence or more text"
            )
        if schedule is None:
            schedule = [(0, _default_weights(store, sizes))]
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
        self._gather = Gather(store.arrays, sequence_length + 1)
        self._plans: OrderedDict[int, tuple[Locations, np.ndarray]] = OrderedDict()

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

    def locate_many(self, ks: np.ndarray) -> Locations:
        """Where many samples lie; the same as ``locate`` for each.

        Args:
            ks: shape (n,), i64.

        Raises:
            IndexError: one is negative.
        """
        ks = np.asarray(ks, dtype=np.int64)
        domain, counts = self._mixture.locate_many(ks)
        columns = np.empty((4, len(ks)), dtype=np.int64)
        epoch, window, shard, start = columns
        for number in np.flatnonzero(np.bincount(domain)).tolist():
            name = self.store.domains[number]
            place, rows = self._domains[name], np.flatnonzero(domain == number)
            epoch[rows], position = np.divmod(counts[rows], place.windows)
            window[rows] = permute(place.windows, self._keys(name, epoch[rows]), position)
            shard[rows], inside = place.locate_many(window[rows])
            start[rows] = inside * self.sequence_length
        return Locations(self.store.domains, ks, domain, epoch, window, shard, start)

    def batch(self, first: int, count: int, rank: int = 0, world: int = 1) -> Batch:
        """Samples ``first`` to ``first + count - 1``, of which this rank takes every world-th.

        Row i is ``sample(first + rank + i * world)``; the tokens are copied into one array.

        Raises:
            IndexError: ``first`` is negative.
            ValueError: a rank outside the world.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not in 0..{world - 1}")
        if first < 0:
            raise IndexError(f"sample {first}: samples count from 0")
        pieces, k, end = [], first + rank, first + count
        while k < end:
            block, inside = divmod(k, _PLAN)
            until = min(end, (block + 1) * _PLAN) - block * _PLAN
            pieces.append((*self._plan(block), slice(inside, until, world)))
            k += len(range(inside, until, world)) * world
        locations = Locations.joined(self.store.domains, [(p[0], p[2]) for p in pieces])
        rows = [whole[piece] for _, whole, piece in pieces]
        joined = rows[0] if len(rows) == 1 else np.concatenate([np.empty(0, np.int64), *rows])
        tokens = self._gather.take(joined)
        return Batch(self.store, locations, tokens)

    def _plan(self, block: int) -> tuple[Locations, np.ndarray]:
        """Locations of samples ``block * _PLAN`` and on, and their rows for ``Gather``."""
        found = self._plans.get(block)
        if found is None:
            locations = self.locate_many(np.arange(block * _PLAN, (block + 1) * _PLAN))
            found = locations, self._gather.rows(locations.shard, locations.start)
            self._plans[block] = found
            if len(self._plans) > _CACHED_PLANS:
                self._plans.popitem(last=False)
        return found

    def _keys(self, domain: str, epochs: np.ndarray) -> np.ndarray:
        """Keys of the permutation of each epoch, shape (n, ROUNDS), or (1, ROUNDS) of one."""
        if epochs.min() == epochs.max():  # the common case: a plan is shorter than an epoch
            return self._permutation(domain, int(epochs[0])).keys[np.newaxis]
        distinct, which = np.unique(epochs, return_inverse=True)
        return np.stack([self._permutation(domain, e).keys for e in distinct.tolist()])[which]

    def _permutation(self, domain: str, epoch: int) -> Permutation:
        found = self._permutations.get((domain, epoch))
        if found is None:
            key = canonical_json([self.seed, domain, epoch])
            found = Permutation(self._domains[domain].windows, key)
            self._permutations[domain, epoch] = found
            if len(self._permutations) > _CACHED_PERMUTATIONS:
                self._permutations.popitem(last=False)
        return found


def _default_weights(store: TokenStore, windows: dict[str, int]) -> dict[str, int]:
    """The store's own weights of domains that have windows; else by their windows."""
    own = {name: weight for name, weight in (store.meta.weights or {}).items() if windows[name]}
    return own if any(own.values()) else proportional_weights(windows)
