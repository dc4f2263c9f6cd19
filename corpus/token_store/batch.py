"""A batch of samples: their tokens in one array, their documents when asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from corpus.token_store.reader import TokenStore, WindowDocuments


@dataclass(frozen=True)
class Locations:
    """Where samples lie; each field but ``domains`` has the shape (n,), i64."""

    domains: list[str]
    """Names that ``domain`` indexes."""
    k: np.ndarray
    domain: np.ndarray
    epoch: np.ndarray
    window: np.ndarray
    """Number of the window inside its domain."""
    shard: np.ndarray
    """Index into ``store.meta.shards``."""
    start: np.ndarray
    """First token inside the shard."""

    @classmethod
    def joined(cls, domains: list[str], pieces: Sequence[tuple["Locations", slice]]) -> "Locations":
        """Slices of several, one after another; views where there is but one."""
        names = ("k", "domain", "epoch", "window", "shard", "start")
        if len(pieces) == 1:
            whole, piece = pieces[0]
            return cls(domains, *(getattr(whole, name)[piece] for name in names))
        empty = np.empty(0, dtype=np.int64)
        columns = (
            np.concatenate([empty, *(getattr(whole, name)[piece] for whole, piece in pieces)])
            for name in names
        )
        return cls(domains, *columns)


@dataclass(frozen=True)
class Batch:
    """One rank's rows of a global batch."""

    store: TokenStore
    locations: Locations
    tokens: np.ndarray
    """Shape (rows, sequence_length + 1), the store's dtype: inputs and targets; a copy."""

    @cached_property
    def documents(self) -> list[WindowDocuments]:
        """Uids and ``cu_seqlens`` of every row's inputs; searched when first asked for."""
        length = self.tokens.shape[1] - 1
        found: list[WindowDocuments | None] = [None] * len(self.tokens)
        for shard in np.unique(self.locations.shard):
            rows = np.flatnonzero(self.locations.shard == shard)
            starts = self.locations.start[rows]
            many = self.store.documents_many(int(shard), starts, length)
            for row, documents in zip(rows.tolist(), many, strict=True):
                found[row] = documents
        return [documents for documents in found if documents is not None]
