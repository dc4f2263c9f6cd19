"""What every step of a build is run with: its context, its files, its units."""

from collections.abc import Callable
from typing import Any

from clusters.stage import StageContext
from clusters.units import Unit
from corpus.config import BuildConfig
from corpus.unit_map import map_units, once
from corpus.workspace import Workspace

_STAGE = "corpus.build"


class Shell:
    """Runs steps of one build: over all shards in workers, or once in the driver."""

    def __init__(self, context: StageContext, shards: list[str]) -> None:
        self.context = context
        self.config: BuildConfig = context.config
        self.seed = context.seed
        self.units = context.out.units
        self.work = Workspace(self.units, shards)

    def once(self, step: str, make: Callable[[Unit], None]) -> None:
        """A step over all shards, as the unit ``STEP/all`` done by the driver."""
        once(self.units, f"{_STAGE}.{step}", make)

    def each_shard(
        self,
        step: str,
        work: Callable[..., None],
        arguments: dict[str, Any],
        note: Callable[[dict[str, Any]], str] | None = None,
    ) -> list[dict[str, Any]]:
        """``work(unit, shard, **arguments)`` for the unit ``STEP/SHARD`` of every shard."""
        return self.map(step, self.work.shards, work, arguments, note)

    def map(
        self,
        step: str,
        names: list[str],
        work: Callable[..., None],
        arguments: dict[str, Any],
        note: Callable[[dict[str, Any]], str] | None = None,
    ) -> list[dict[str, Any]]:
        """The same for units of any names; the units' stats in the order of ``names``."""
        return map_units(
            self.units,
            f"{_STAGE}.{step}",
            names,
            work,
            arguments,
            workers=self.config.workers,
            progress=self.context.progress,
            note=note,
        )
