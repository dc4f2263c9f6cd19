"""Where the steps of a build find what earlier steps left."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clusters.units import Units
from corpus.steps.read import CANDIDATES_NAME


class Workspace:
    """Files of published units, by unit and name. Picklable: workers use it too."""

    def __init__(self, units: Units, shards: list[str]) -> None:
        self.units = units
        self.shards = shards

    def file(self, unit: str, name: str) -> Path:
        """Path of a scratch file of a published unit."""
        record = self.units.record(unit)
        if record is None:
            raise RuntimeError(f"unit {unit} is not published yet")
        return self.units.resolve(record.scratch[name])

    def of_shards(self, step: str, name: str) -> list[Path]:
        """The file ``name`` of every shard's unit of a step, in shard order."""
        return [self.file(f"{step}/{shard}", name) for shard in self.shards]

    def candidates(self, columns: list[str]) -> pa.Table:
        """Columns of all candidates, in shard order."""
        paths = self.of_shards("read", CANDIDATES_NAME)
        return pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])

    def counts(self) -> list[int]:
        """Number of candidates of each shard."""
        return [pq.read_metadata(p).num_rows for p in self.of_shards("read", CANDIDATES_NAME)]

    def texts(self, rows: np.ndarray) -> list[str]:
        """Texts of some candidates, in the order of ``rows``; one shard in memory at a time."""
        found: dict[int, str] = {}
        start = 0
        for path, count in zip(self.of_shards("read", CANDIDATES_NAME), self.counts(), strict=True):
            inside = rows[(rows >= start) & (rows < start + count)]
            if len(inside):
                column = pq.read_table(path, columns=["text"])["text"]
                texts = column.take(inside - start).to_pylist()
                found.update(zip(inside.tolist(), texts, strict=True))
            start += count
        return [found[row] for row in rows.tolist()]
