"""Reads and writes rows of Parquet in batches whose size follows from the rows alone.

So equal rows give equal bytes, and no step holds more than one batch of texts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.documents import BATCH_ROWS

BATCH_CHARS = 16 << 20
"""A batch ends with the row that reaches this or ``BATCH_ROWS``."""


class TableWriter:
    """A Parquet file that grows row by row. The file is whole after the ``with`` block."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._chars = 0
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        """Append one row."""
        self._rows.append(row)
        self._chars += len(row.get("text") or "")
        if len(self._rows) >= BATCH_ROWS or self._chars >= BATCH_CHARS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []
            self._chars = 0


def batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a file in order: the batches in which it was written."""
    with pq.ParquetFile(path) as reader:
        wanted = None if columns is None else list(columns)
        for number in range(reader.num_row_groups):
            yield reader.read_row_group(number, columns=wanted)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a whole table."""
    pq.write_table(table, path, compression="zstd")
