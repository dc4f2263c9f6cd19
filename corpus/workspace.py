"""Where the steps of a build find what earlier steps left."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
        record = self.units.record(unit)
        if record is None:
            raise RuntimeError(f"unit {unit} is not published yet")
        return self.units.resolve(record.scratch[name])

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

    def candidates(self, columns: list[str]) -> pa.Table:
        """Columns of all candidates, in shard order."""
        paths = [self.candidates_file(shard) for shard in self.shards]
        return pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])

    def counts(self) -> list[int]:
        """Number of candidates of each shard."""
        return [pq.read_metadata(self.candidates_file(shard)).num_rows for shard in self.shards]

    def texts(self, rows: np.ndarray) -> list[str]:
        """Texts of some candidates, in the order of ``rows``; one shard in memory at a time."""
        found: dict[int, str] = {}
        start = 0
        for shard, count in zip(self.shards, self.counts(), strict=True):
            inside = rows[(rows >= start) & (rows < start + count)]
            if len(inside):
                column = pq.read_table(self.candidates_file(shard), columns=["text"])["text"]
                texts = column.take(inside - start).to_pylist()
                found.update(zip(inside.tolist(), texts, strict=True))
            start += count
        return [found[row] for row in rows.tolist()]
