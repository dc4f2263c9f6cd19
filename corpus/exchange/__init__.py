"""A shuffle through files: every source writes one file in which each target finds its slice.

A step works on *shards* (of the input) or on *partitions* (of a key's hash). What it writes to
an :class:`Exchange` is grouped by target; the target's step reads its slices of all sources, in
the order of the sources. :class:`corpus.exchange.units.UnitFlow` runs each piece as a work unit,
so a killed run goes on where it was; :class:`MemoryFlow` runs all of it in one process, for
inputs that fit there.
"""

from corpus.exchange.flow import (
    EARLIER,
    PARTITIONS,
    SHARDS,
    Exchange,
    Flow,
    Place,
    partition_of,
    record,
)
from corpus.exchange.memory import MemoryFlow

__all__ = [
    "EARLIER",
    "PARTITIONS",
    "SHARDS",
    "Exchange",
    "Flow",
    "MemoryFlow",
    "Place",
    "partition_of",
    "record",
]
