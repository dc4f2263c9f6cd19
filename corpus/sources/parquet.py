"""Parquet files with a text column."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.sources.config import FilesSource
from corpus.sources.fields import record_of
from corpus.sources.keys import ContentKeys
from corpus.sources.record import BadRecord, Record, ShardFile

_ROWS = 256


def read_parquet(source: FilesSource, file: ShardFile) -> Iterator[Record | BadRecord]:
    """One record per row. A broken row group ends the file with one bad record."""
    keys = ContentKeys()
    row = 0
    try:
        with pq.ParquetFile(file.path) as reader:
            wanted = {source.text_field, source.id_field, source.url_field}
            columns = [name for name in reader.schema_arrow.names if name in wanted]
            for batch in reader.iter_batches(_ROWS, columns=columns):
                for values in batch.to_pylist():
                    row += 1
                    yield record_of(source, values, f"{file.name}:{row}", keys)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        yield BadRecord(
            id=f"{file.name}:{row + 1}",
            key=f"{file.name}:broken",
            source=source.source,
            reason=f"broken_parquet: {str(error).splitlines()[0][:200]}",
        )
