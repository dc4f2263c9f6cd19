"""Where the steps of a build find what earlier steps left."""

from pathlib import Path

from clusters.units import Units

CANDIDATES_NAME = "candidates.parquet"
CLUSTERS_NAME = "clusters.parquet"
DECISIONS_NAME = "decisions.parquet"
SCORES_NAME = "scores.parquet"


class Workspace:
    """Files of published units, by unit and name. Picklable: workers use it too."""

    def __init__(self, units: Units, shards: list[str], texts_of: str = "read") -> None:
        self.units = units
        self.shards = shards
        self.texts_of = texts_of
        """The step whose candidates later steps read: ``read``, or ``lines`` after it."""

    def file(self, unit: str, name: str) -> Path:
        """Path of a scratch file of a published unit."""
        return self.units.scratch(unit, name)

    def of_shards(self, step: str, name: str) -> list[Path]:
        """The file ``name`` of every shard's unit of a step, in shard order."""
        return [self.file(f"{step}/{shard}", name) for shard in self.shards]

    def candidates_file(self, shard: str) -> Path:
        """The candidates of one shard, with the texts that later steps read."""
        return self.file(f"{self.texts_of}/{shard}", CANDIDATES_NAME)

    def clusters(self, shard: str) -> Path:
        """CLUSTERS of one shard, row-aligned with its candidates."""
        return self._by_flow("clusters", shard, CLUSTERS_NAME)

    def decisions(self, shard: str) -> Path:
        """DECISIONS of one shard, row-aligned with its candidates."""
        return self._by_flow("survivors", shard, DECISIONS_NAME)

    def _by_flow(self, step: str, shard: str, name: str) -> Path:
        """A file that one unit for all shards wrote, or one unit per shard."""
        if self.units.record(f"{step}/all") is not None:
            return self.file(f"{step}/all", f"{shard}/{name}")
        return self.file(f"{step}/{shard}", name)

    def scores(self, shard: str) -> Path | None:
        """Score columns of one shard, row-aligned with its candidates; None without any."""
        if self.units.record(f"score/{shard}") is None:
            return None
        return self.file(f"score/{shard}", SCORES_NAME)
