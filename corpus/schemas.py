"""Scratch tables that the steps of a build hand each other; none reaches the artifact."""

import pyarrow as pa

from corpus.safety.config import SafetyConfig, score_columns

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
        pa.field("content", pa.uint64()),
        pa.field("duplicate_id", pa.bool_()),
        pa.field("seen_earlier", pa.uint64()),
        pa.field("group", pa.uint64()),
        pa.field("split", pa.string()),
    ]
)
"""One row per candidate, in its shard's order. ``cluster`` is the smallest uid in it, ``group``
the smallest cluster; ``content`` is equal for copies; ``seen_earlier`` is the uid of a document
near it in an earlier corpus."""

DECISIONS = pa.schema(
    [
        pa.field("stage", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("cluster", pa.uint64()),
        pa.field("split", pa.string()),
        pa.field("dup_count", pa.uint32()),
        pa.field("survivor", pa.uint64()),
    ]
)
"""One row per candidate, in its shard's order; an empty ``stage`` means it is kept. ``survivor``
is the uid of the document that stands for it."""

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
        pa.field("title", pa.string()),
        pa.field("date", pa.string()),
        pa.field("licence", pa.string()),
        pa.field("pii", pa.map_(pa.string(), pa.uint32())),
        pa.field("prose", pa.float32()),
    ]
)
"""Documents that passed all steps of reading; ``prose`` is null where no seed asks for it."""


def candidates_schema(safety: SafetyConfig) -> pa.Schema:
    """CANDIDATES with a score column per word list."""
    scores = [pa.field(name, pa.float32()) for name in score_columns(safety)]
    return pa.schema([*CANDIDATES, *scores])
