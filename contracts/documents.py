"""Schemas of the corpus artifact: kept documents, rejected records, question files."""

from collections.abc import Sequence

import pyarrow as pa
from blake3 import blake3

TRAIN = "train"
VALIDATION = "validation"


def documents_schema(scores: Sequence[str] = ()) -> pa.Schema:
    """Schema of ``documents/part-*.parquet`` with these f32 score columns after the fixed ones."""
    return pa.schema(
        [
            pa.field("uid", pa.uint64(), nullable=False),
            pa.field("split", pa.string(), nullable=False),
            pa.field("id", pa.string(), nullable=False),
            pa.field("url", pa.string()),
            pa.field("source", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("lang", pa.string(), nullable=False),
            pa.field("lang_score", pa.float32()),
            pa.field("title", pa.string()),
            pa.field("date", pa.string()),
            pa.field("licence", pa.string()),
            pa.field("pii", pa.map_(pa.string(), pa.uint32())),
            pa.field("dup_count", pa.uint32(), nullable=False),
            pa.field("cluster", pa.uint64(), nullable=False),
            *(pa.field(name, pa.float32()) for name in scores),
        ]
    )


REJECTED = pa.schema(
    [
        pa.field("uid", pa.uint64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("cluster", pa.uint64()),
        pa.field("survivor", pa.uint64()),
    ]
)
"""``rejected/part-*.parquet``: every record that was not kept, and why. Duplicates name their
cluster and the uid of the document that stands for them."""


def document_uid(source: str, key: str) -> int:
    """u64 from blake3 of a document's source and record key: never a position.

    For a record without a key, pass its content and occurrence as the key.
    """
    raw = source.encode() + b"\x00" + key.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake3(raw).digest(8), "little")
