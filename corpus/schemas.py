"""Scratch tables that the steps of a build hand each other; none reaches the artifact."""

import pyarrow as pa

from corpus.dedup.exact import CONTENT_BYTES

NEGATIVES = pa.schema(
    [
        pa.field("uid", pa.uint64()),
        pa.field("rule", pa.string()),
        pa.field("source", pa.string()),
        pa.field("lang", pa.string()),
        pa.field("text", pa.string()),
    ]
)
"""Starts of records that a rule rejected: examples for classifiers that name the rule."""

CLUSTERS = pa.schema(
    [
        pa.field("cluster", pa.uint64()),
        pa.field("content", pa.int64()),
        pa.field("duplicate_id", pa.bool_()),
        pa.field("group", pa.uint64()),
        pa.field("split", pa.string()),
    ]
)
"""One row per candidate of all shards: ``content`` numbers the groups of equal content."""

DECISIONS = pa.schema(
    [
        pa.field("stage", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("quality", pa.float32()),
        pa.field("cluster", pa.uint64()),
        pa.field("split", pa.string()),
        pa.field("dup_count", pa.uint32()),
    ]
)
"""One row per candidate, in its shard's order; an empty ``stage`` means it is kept."""


CANDIDATES = pa.schema(
    [
        pa.field("uid", pa.uint64()),
        pa.field("id", pa.string()),
        pa.field("url", pa.string()),
        pa.field("source", pa.string()),
        pa.field("text", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("lang", pa.string()),
        pa.field("lang_score", pa.float32()),
        pa.field("prose", pa.float32()),
    ]
)
"""Documents that passed the rules."""


def sketches(num_hashes: int) -> pa.Schema:
    """What dedup needs to know of every candidate, in its shard's order."""
    return pa.schema(
        [
            pa.field("content", pa.binary(CONTENT_BYTES)),
            pa.field("signature", pa.binary(4 * num_hashes)),
            pa.field("paragraphs", pa.list_(pa.uint64())),
            pa.field("paragraph_bytes", pa.list_(pa.uint32())),
        ]
    )
