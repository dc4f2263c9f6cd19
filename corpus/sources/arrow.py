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


def read_arrow(source: RowsSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """One record per row. In an IPC file a broken batch is one bad record; it ends a stream.

    Raises:
        CorpusError: the file vanished, changed or could not be read.
    """
    keys = ContentKeys()
    row = 1
    wanted = columns_of(source)
    store = source if isinstance(source, FilesSource) else None
    with Opened(store, file) as stream:
        try:
            for number, batch in enumerate(_batches(stream)):
                if isinstance(batch, Exception):
                    yield broken(source, file, "broken_arrow", number, row, batch)
                    continue
                rows = batch.select([n for n in batch.schema.names if n in wanted])
                for start in range(0, rows.num_rows, _ROWS):
                    part = rows.slice(start, _ROWS)
                    yield from records_of(source, file, part, row + start, keys)
                row += rows.num_rows
        except (OSError, pa.ArrowException) as error:
            yield broken(source, file, "broken_arrow", 0, row, error)


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
