"""A flow in one process, for inputs that fit into one partition's memory."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clusters.units import Unit
from corpus.exchange.flow import PARTITIONS, Exchange, Flow, Place, Side, Work


@dataclass
class _Held:
    """What steps have left."""

    records: dict[tuple[str, str, int], list[np.ndarray]] = field(default_factory=dict)
    arrays: dict[tuple[str, str, int], np.ndarray] = field(default_factory=dict)


class _MemoryPlace(Place):
    def __init__(self, index: int, counts: dict[Side, int], step: str, name: str, flow: Any):
        super().__init__(index, counts)
        self._step, self._name, self._held, self._unit = step, name, flow.held, flow.unit

    def read(self, exchange: Exchange) -> np.ndarray:
        found = self._held.records.pop((exchange.step, exchange.name, self.index), [])
        return np.concatenate([np.empty(0, exchange.dtype), *found])

    def write(self, exchange: Exchange, to: np.ndarray, records: np.ndarray) -> None:
        records = records.astype(exchange.dtype, copy=False)
        order = np.argsort(to, kind="stable")
        targets, starts = np.unique(to[order], return_index=True)
        groups = np.split(records[order], starts[1:]) if len(targets) else []
        for target, group in zip(targets.tolist(), groups, strict=True):
            key = (exchange.step, exchange.name, target)
            self._held.records.setdefault(key, []).append(group)

    def save(self, name: str, array: np.ndarray) -> None:
        self._held.arrays[self._step, name, self.index] = array

    def load(self, step: str, name: str) -> np.ndarray:
        return self._held.arrays[step, name, self.index]

    def file(self, name: str) -> Path:
        return self._unit.scratch(f"{self._name}/{name}")


class MemoryFlow(Flow):
    """Runs all places of a step one after the other, as one work unit; records are read once."""

    def __init__(self, unit: Unit, names: dict[Side, list[str]], partitions: int = 1) -> None:
        self.unit = unit
        self.held = _Held()
        self._names = {**names, PARTITIONS: partition_names(partitions)}

    def each(self, side: Side, step: str, work: Work, /, **arguments: Any) -> list[dict[str, Any]]:
        """Do ``work`` at every place of a side; see :meth:`Flow.each`."""
        counts = {key: len(names) for key, names in self._names.items()}
        stats = []
        for index, name in enumerate(self._names[side]):
            place = _MemoryPlace(index, counts, step, name, self)
            work(place, **arguments)
            stats.append(place.stats)
        return stats


def partition_names(count: int) -> list[str]:
    """Names of partitions, and so of the units of a step over them."""
    return [f"p{index:05d}" for index in range(count)]
