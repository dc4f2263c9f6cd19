"""Parquet files with a text column; whole files, or row groups of large ones."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.sources.config import FilesSource, RowsSource
from corpus.sources.fields import columns_of, record_of
from corpus.sources.keys import ContentKeys
from corpus.sources.record import BadRecord, Record, ShardFile
from corpus.sources.storage import Opened

_ROWS = 64


def read_parquet(source: FilesSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """One record per row. A broken row group is one bad record, and the next is read.

    Raises:
        CorpusError: the file vanished, changed or could not be read.
    """
    keys = ContentKeys()
    with Opened(source, file) as stream:
        try:
            reader = pq.ParquetFile(stream)
            metadata = reader.metadata
            rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        except (OSError, pa.ArrowException) as error:
            yield broken(source, file, "broken_parquet", file.start, 1, error)
            return
        wanted = columns_of(source)
        columns = [name for name in reader.schema_arrow.names if name in wanted]
        for group in range(file.start, len(rows) if file.end is None else file.end):
            first = sum(rows[:group]) + 1
            yield from _group(source, file, reader, group, columns, first, keys)


def _group(
    source: FilesSource,
    file: ShardFile,
    reader: pq.ParquetFile,
    group: int,
    columns: list[str],
    row: int,
    keys: ContentKeys,
) -> Iterator[Record | BadRecord]:
    try:
        for batch in reader.iter_batches(_ROWS, row_groups=[group], columns=columns):
            for record in records_of(source, file, batch, row, keys):
                yield record
                row += 1
    except (OSError, pa.ArrowException) as error:
        yield broken(source, file, "broken_parquet", group, row, error)


def records_of(
    source: RowsSource, file: ShardFile, batch: pa.RecordBatch, row: int, keys: ContentKeys
) -> Iterator[Record | BadRecord]:
    """The rows of a batch whose first is row number ``row``."""
    try:
        rows = batch.to_pylist()
    except Exception:  # bad UTF-8, dates beyond Python's, unknown time zones
        yield from _one_by_one(source, file, batch, row, keys)
        return
    for number, values in enumerate(rows, row):
        yield record_of(source, values, f"{file.name}:{number}", keys)


def _one_by_one(
    source: RowsSource, file: ShardFile, batch: pa.RecordBatch, row: int, keys: ContentKeys
) -> Iterator[Record | BadRecord]:
    for index in range(batch.num_rows):
        place = f"{file.name}:{row + index}"
        values: dict[str, Any] = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                values[name] = column[index].as_py()
            except Exception as error:
                bad = _bad_cell(source, name, place, keys, error)
                if bad is not None:
                    yield bad
                    break
        else:
            yield record_of(source, values, place, keys)


def _bad_cell(
    source: RowsSource, name: str, place: str, keys: ContentKeys, error: Exception
) -> BadRecord | None:
    """Why a cell that Python cannot hold costs its row; None where the row can do without.

    A row can do without its date, and without what is no string and not its text.
    """
    if name == source.date_field:
        return None
    if isinstance(error, UnicodeDecodeError):
        reason = f"not_utf8: byte {error.start}"
        return BadRecord(place, keys.key(error.object), source.source, reason)
    if name != source.text_field:
        return None
    reason = f"text_not_a_string: field {name!r}: {type(error).__name__}"
    return BadRecord(place, keys.key(f"{name}: {error}"), source.source, reason)


def broken(
    source: RowsSource, file: ShardFile, code: str, part: int, row: int, error: Exception
) -> BadRecord:
    """The rest of a file or row group that cannot be read, from ``row`` on."""
    detail = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return BadRecord(
        id=f"{file.name}:{row}",
        key=f"{file.name}:broken:{part}" if part else f"{file.name}:broken",
        source=source.source,
        reason=f"{code}: {detail}",
    )


def row_group_bytes(file: BinaryIO) -> list[int]:
    """Compressed bytes of each row group; empty where the footer cannot be read."""
    try:
        metadata = pq.read_metadata(file)
    except (OSError, pa.ArrowException):
        return []
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    return [sum(g.column(i).total_compressed_size for i in range(g.num_columns)) for g in groups]
