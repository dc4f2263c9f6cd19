"""A flow of work units: every place of every step is published on its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clusters.units import Unit
from corpus.exchange.files import ends_file, read_group, write_grouped
from corpus.exchange.flow import PARTITIONS, Exchange, Flow, Place, Side, Work
from corpus.exchange.memory import partition_names
from corpus.workspace import Workspace


class RunsUnits(Protocol):
    """What runs work units: :class:`corpus.steps.shell.Shell`."""

    work: Workspace

    def map(
        self, step: str, names: list[str], work: Callable[..., None], arguments: dict[str, Any], /
    ) -> list[dict[str, Any]]:
        """``work(unit, name, **arguments)`` for the units ``STEP/NAME``; their stats in order."""


class _UnitPlace(Place):
    def __init__(self, index: int, names: dict[Side, list[str]], unit: Unit, work: Workspace):
        super().__init__(index, {side: len(found) for side, found in names.items()})
        self._names, self._unit, self._work = names, unit, work

    def read(self, exchange: Exchange) -> np.ndarray:
        found = [np.empty(0, exchange.dtype)]
        for name in self._names[exchange.source]:
            path = self._work.file(f"{exchange.step}/{name}", exchange.file)
            found.append(read_group(path, self.index, exchange.dtype))
        return np.concatenate(found)

    def write(self, exchange: Exchange, to: np.ndarray, records: np.ndarray) -> None:
        path = self._unit.scratch(exchange.file)
        self._unit.scratch(ends_file(path).name)
        records = records.astype(exchange.dtype, copy=False)
        write_grouped(path, to, records, self.counts[exchange.target])

    def save(self, name: str, array: np.ndarray) -> None:
        np.save(self._unit.scratch(f"{name}.npy"), array, allow_pickle=False)

    def load(self, step: str, name: str) -> np.ndarray:
        own = self._unit.name.split("/", 1)[1]
        return np.load(self._work.file(f"{step}/{own}", f"{name}.npy"), allow_pickle=False)

    def file(self, name: str) -> Path:
        return self._unit.scratch(name)


class UnitFlow(Flow):
    """Runs a step's places as work units on the cluster."""

    def __init__(self, shell: RunsUnits, names: dict[Side, list[str]], partitions: int) -> None:
        self._shell = shell
        self._names = {**names, PARTITIONS: partition_names(partitions)}

    def each(self, side: Side, step: str, work: Work, /, **arguments: Any) -> list[dict[str, Any]]:
        """Do ``work`` at every place of a side; see :meth:`Flow.each`."""
        names = self._names[side]
        if not names:
            return []
        given = {
            "call": work,
            "given": arguments,
            "side": side,
            "names": self._names,
            "work": self._shell.work,
        }
        return [found["flow"] for found in self._shell.map(step, names, _do, given)]


def _do(
    unit: Unit,
    name: str,
    call: Work,
    given: dict[str, Any],
    side: Side,
    names: dict[Side, list[str]],
    work: Workspace,
) -> None:
    place = _UnitPlace(names[side].index(name), names, unit, work)
    call(place, **given)
    unit.stats["flow"] = place.stats
