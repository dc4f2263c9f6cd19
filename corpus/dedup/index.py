"""The dedup index of a corpus: ``dedup/part-*.parquet``, one row per clustered document."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clusters.artifact import Artifact
from corpus.dedup.config import DedupConfig
from corpus.errors import CorpusError

_MADE_WITH = b"inkstone.dedup"
_SHAPING = ("ngram", "char_ngram", "char_languages", "bands", "rows")


def write_index(
    path: Path, uids: np.ndarray, documents: np.ndarray, keys: np.ndarray, config: DedupConfig
) -> None:
    """Write one part.

    Args:
        path: the file.
        uids: of the document that stands for each one, u64, shape (rows,).
        documents: their DOCUMENT records (corpus/dedup/sketches.py).
        keys: their band keys, u64, shape (rows, bands).
        config: what the keys were made with; kept in the file.
    """
    content = np.stack([documents["content"], documents["content_low"]], axis=1).astype("<u8")
    table = pa.table(
        {
            "uid": pa.array(uids, pa.uint64()),
            "content": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), len(uids), [None, pa.py_buffer(content.tobytes())]
            ),
            "bands": pa.FixedSizeListArray.from_arrays(
                pa.array(np.ascontiguousarray(keys).reshape(-1), pa.uint64()), config.bands
            ),
        }
    )
    pq.write_table(table.replace_schema_metadata({_MADE_WITH: _made_with(config)}), path)


def parts_of(corpora: Sequence[Artifact], config: DedupConfig) -> list[Path]:
    """The parts of the indexes of earlier corpora.

    Raises:
        CorpusError: a corpus has no index, or one made with other shingles or bands.
    """
    paths: list[Path] = []
    for corpus in corpora:
        parts = corpus.files("dedup/")
        if not parts:
            raise CorpusError(
                f"{corpus.directory}: has no dedup index; build it with dedup.index: true"
            )
        made = (pq.read_schema(parts[0]).metadata or {}).get(_MADE_WITH, b"")
        if made != _made_with(config):
            raise CorpusError(
                f"{parts[0]}: was made with {made.decode() or 'unknown settings'}, this build "
                f"asks for {_made_with(config).decode()}; use the same dedup settings in both"
            )
        paths += parts
    return paths


def _made_with(config: DedupConfig) -> bytes:
    values = (f"{name}={getattr(config, name)}" for name in _SHAPING)
    return ", ".join(values).encode()
