"""Arrow IPC: files, streams and Feather with a text column."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from corpus.sources.config import FilesSource, RowsSource
from corpus.sources.fields import columns_of
from corpus.sources.keys import ContentKeys
from corpus.sources.parquet import broken, records_of
from corpus.sources.record import BadRecord, Record, ShardFile
from corpus.sources.storage import Opened

_MAGIC = b"ARROW1"
_ROWS = 64
_BYTES = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}


def read_arrow(source: RowsSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """One record per row. In an IPC file a broken batch is one bad record; it ends a stream.

    Raises:
        CorpusError: the file vanished, changed or could not be read.
    """
    keys = ContentKeys()
    row = 1
    part = 0
    wanted = columns_of(source)
    store = source if isinstance(source, FilesSource) else None
    with Opened(store, file) as stream:
        try:
            for part, batch in enumerate(_batches(stream)):
                if isinstance(batch, Exception):
                    yield broken(source, file, "broken_arrow", part, row, batch)
                    continue
                rows = batch.select([n for n in batch.schema.names if n in wanted])
                damage = _damage(rows)
                if damage is not None:
                    yield broken(source, file, "broken_arrow", part, row, damage)
                else:
                    for start in range(0, rows.num_rows, _ROWS):
                        some = rows.slice(start, _ROWS)
                        yield from records_of(source, file, some, row + start, keys)
                row += rows.num_rows
                part += 1
        except (OSError, pa.ArrowException) as error:
            yield broken(source, file, "broken_arrow", part, row, error)


def _damage(rows: pa.RecordBatch) -> Exception | None:
    """What is wrong with offsets and sizes: Arrow trusts them, and reads beyond its memory."""
    for column in rows.columns:
        try:
            plain = pa.types.is_primitive(column.type)  # has no offsets
            _as_bytes(column).validate(full=not plain)
        except pa.ArrowException as error:
            return error
    return None


def _as_bytes(column: pa.Array) -> pa.Array:
    """Strings as bytes: one that is no UTF-8 costs its row, not the batch."""
    if pa.types.is_dictionary(column.type):
        column.validate()
        values = _as_bytes(column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, values, safe=False)
    kind = _BYTES.get(column.type)
    return column if kind is None else column.view(kind)


def _batches(stream: BinaryIO) -> Iterator[Any]:
    """Record batches in order; in an IPC file an error in place of one that is broken."""
    magic = stream.read(len(_MAGIC))
    stream.seek(0)
    if magic != _MAGIC:
        yield from pa.ipc.open_stream(stream)
        return
    reader = pa.ipc.open_file(stream)
    for index in range(reader.num_record_batches):
        try:
            yield reader.get_batch(index)
        except (OSError, pa.ArrowException) as error:
            yield error
