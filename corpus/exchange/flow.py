"""The shapes of a shuffle: exchanges, and the places that read and write them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

Side = Literal["shards", "partitions", "earlier"]
SHARDS: Side = "shards"
PARTITIONS: Side = "partitions"
EARLIER: Side = "earlier"
"""Parts of the dedup index of earlier corpora."""

_SPREAD = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True)
class Exchange:
    """Records on their way from one step to another."""

    step: str
    """The step that writes it."""
    name: str
    source: Side
    """What the writing step works on."""
    target: Side
    """What the reading step works on."""
    dtype: np.dtype
    """Structured dtype of a record."""

    @property
    def file(self) -> str:
        """Name of a source's file."""
        return f"{self.name}.exchange"


def record(**fields: str) -> np.dtype:
    """A packed little-endian structured dtype, e.g. ``record(key="u8", row="u4")``."""
    return np.dtype([(name, f"<{kind}") for name, kind in fields.items()])


def partition_of(keys: np.ndarray, partitions: int) -> np.ndarray:
    """Partition of every key (u64), i64: from the high bits of a multiplicative hash."""
    high = (keys * _SPREAD) >> np.uint64(32)
    return ((high * np.uint64(partitions)) >> np.uint64(32)).astype(np.int64)


@dataclass
class Place(ABC):
    """One shard or partition at work in a step."""

    index: int
    """Number of the shard or partition."""
    counts: dict[Side, int]
    """Number of places of every side."""
    stats: dict[str, Any] = field(default_factory=dict)
    """What the driver gets to see: small JSON values."""

    @abstractmethod
    def read(self, exchange: Exchange) -> np.ndarray:
        """The place's records of all sources, in the order of the sources."""

    @abstractmethod
    def write(self, exchange: Exchange, to: np.ndarray, records: np.ndarray) -> None:
        """Send ``records[i]`` to target number ``to[i]``. Once per exchange and place."""

    @abstractmethod
    def save(self, name: str, array: np.ndarray) -> None:
        """Keep an array for a later step at the same place."""

    @abstractmethod
    def file(self, name: str) -> Path:
        """Where to write a file that steps outside the flow read."""

    @abstractmethod
    def load(self, step: str, name: str) -> np.ndarray:
        """An array that an earlier step kept at the same place."""

    def send(self, exchange: Exchange, key: str, records: np.ndarray) -> None:
        """Write records to the partitions of their field ``key``."""
        self.write(exchange, partition_of(records[key], self.counts[PARTITIONS]), records)


Work = Callable[..., None]
"""``work(place, **arguments)``: one shard's or partition's part of a step; a module-level
function whose result depends on what it reads alone."""


class Flow(ABC):
    """Runs steps over all shards or all partitions."""

    @abstractmethod
    def each(self, side: Side, step: str, work: Work, /, **arguments: Any) -> list[dict[str, Any]]:
        """Do ``work`` at every place of a side; the places' stats in order."""
