"""Seeds of a search as one table: sampled from sources of the pool, and read from files."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from clusters.units import Unit
from corpus.enrich.pool import TEXTS
from corpus.errors import CorpusError
from corpus.tables import write_table
from corpus.value.config import Seed
from corpus.value.examples import order_of
from corpus.value.outside import read_seed

_BATCH = 1000


def write_seeds(
    unit: Unit, name: str, files: Sequence[Seed], drawn: Iterable[Path], count: int, max_chars: int
) -> None:
    """The ``count`` seeds of smallest hash, as TEXTS; equal texts from files count once.

    Raises:
        CorpusError: there is none, or a file is broken.
    """
    table = TEXTS.empty_table()
    for path in drawn:
        table = smallest(pa.concat_tables([table, pq.read_table(path)]), count)
    for seed in files:
        texts = read_seed(seed)
        while batch := list(islice(texts, _BATCH)):
            rows = _rows(Path(seed.path or "").name, batch, max_chars)
            table = smallest(pa.concat_tables([table, rows]), count)
    if len(table) == 0:
        raise CorpusError("there are no seeds: no document is of their source, or files are empty")
    write_table(unit.scratch(name), table)


def _rows(source: str, texts: list[str], max_chars: int) -> pa.Table:
    raw = [blake3(text.encode("utf-8", "surrogatepass")).digest(8) for text in texts]
    starts = [text[:max_chars].encode("utf-8", "replace").decode() for text in texts]
    return pa.table(
        {
            "uid": np.frombuffer(b"".join(raw), "<u8"),
            "source": [source] * len(texts),
            "text": starts,
            "score": pa.nulls(len(texts), pa.float32()),
        },
        schema=TEXTS,
    )


def smallest(table: pa.Table, count: int) -> pa.Table:
    """Rows of smallest hash of uid, each uid once."""
    _, first = np.unique(order_of(table["uid"].to_numpy()), return_index=True)
    return table.take(pa.array(first[:count]))
