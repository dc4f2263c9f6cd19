"""Reads the documents of a corpus artifact, a column and a batch at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.manifest import canonical_json, hash_bytes

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH_ROWS = 256
BATCH_BYTES = 1 << 20
"""Text of one batch of ``text_batches``; a longer document is a batch of its own."""


def record_batches(
    file: "pq.ParquetFile", columns: Sequence[str], row_groups: range | None = None
) -> Iterator["pa.RecordBatch"]:
    """A file's rows in order, all or those of ``row_groups``.

    No batch is empty, longer than ``BATCH_ROWS``, or reaches over a row group, which the writer
    bounds by its text: ``iter_batches`` over the whole file joins row groups, and 256 long
    documents are then one batch.
    """
    groups = range(file.num_row_groups) if row_groups is None else row_groups
    for group in groups:
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(columns)):
            if batch.num_rows:
                yield batch


def read_rows(
    parts: Sequence[Path], columns: Sequence[str], split: str | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of ``documents/part-*.parquet`` as dicts, in file and row order.

    Args:
        parts: the part files.
        columns: columns wanted, by name.
        split: keep only this split's rows.
    """
    import pyarrow.parquet as pq

    wanted = list(dict.fromkeys([*columns, "split"]))
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in record_batches(file, wanted):
                for row in batch.to_pylist():
                    if split is None or row["split"] == split:
                        yield row


def text_batches(
    part: Path,
    columns: Sequence[str],
    max_bytes: int = BATCH_BYTES,
    row_groups: range | None = None,
) -> Iterator["pa.RecordBatch"]:
    """A part's rows with ``columns`` and ``text``, cut so that no batch holds much text.

    Row order is kept. A batch has at least one row and, past the first, at most
    ``max_bytes`` of text. Batches are cut from one row group, which is in memory as a whole.
    """
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(part) as file:
        for batch in record_batches(file, [*columns, "text"], row_groups):
            ends = np.cumsum(pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False))
            start, before = 0, 0
            while start < len(ends):
                fits = int(np.searchsorted(ends, before + max_bytes, side="right"))
                end = max(start + 1, fits)
                yield batch.slice(start, end - start)
                start, before = end, ends[end - 1]


def sources(parts: Sequence[Path]) -> list[str]:
    """Names of all sources in the corpus, sorted."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: set[str] = set()
    for part in parts:
        table = pq.read_table(part, columns=["source"])
        found.update(pc.unique(table["source"]).to_pylist())
    return sorted(found)


def order_key(seed: int, *parts: int | str) -> str:
    """A position in a shuffled order that depends on seed and identity only."""
    return hash_bytes(canonical_json([seed, *parts]))
