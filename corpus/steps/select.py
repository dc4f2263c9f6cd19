"""Step ``select``: of every cluster the best stays; below the threshold none does."""

import numpy as np
import pyarrow as pa

from corpus.schemas import DECISIONS

_KEPT, _DUPLICATE_ID, _EXACT, _NEAR, _LOW_QUALITY = range(5)
_STAGES = np.array(["", "identity", "dedup", "dedup", "quality"])
_REASONS = np.array(["", "duplicate_id", "exact_duplicate", "near_duplicate", "low_quality"])


def select(
    table: pa.Table, clusters: pa.Table, scores: np.ndarray | None, min_score: float
) -> pa.Table:
    """What becomes of every candidate, as DECISIONS in the order of ``table``.

    ``table`` has the columns uid and bytes; ``scores`` is f32, shape (rows,), or None
    without a classifier. Of a cluster the best quality stays, of equals the longest, then
    the smallest uid, then the first read.
    """
    size = len(table)
    duplicate_id = clusters["duplicate_id"].to_numpy()
    rows = np.flatnonzero(~duplicate_id)
    cluster = clusters["cluster"].to_numpy()
    quality = np.zeros(size, np.float32) if scores is None else scores
    order = rows[
        np.lexsort(
            (
                rows,
                table["uid"].to_numpy()[rows],
                -table["bytes"].to_numpy()[rows],
                -quality[rows],
                cluster[rows],
            )
        )
    ]
    outcome = np.full(size, _NEAR)
    outcome[order] = np.where(_is_first(clusters["content"].to_numpy()[order]), _NEAR, _EXACT)
    best = order[_is_first(cluster[order])]
    outcome[best] = np.where(quality[best] < min_score, _LOW_QUALITY, _KEPT)
    if scores is None:
        outcome[best] = _KEPT
    outcome[duplicate_id] = _DUPLICATE_ID
    members = np.ones(size, np.uint32)
    _, inverse, counts = np.unique(cluster[rows], return_inverse=True, return_counts=True)
    members[rows] = counts[inverse]
    return pa.table(
        {
            "stage": _STAGES[outcome],
            "reason": _REASONS[outcome],
            "quality": pa.array(quality, mask=np.full(size, scores is None)),
            "cluster": cluster,
            "split": clusters["split"],
            "dup_count": members,
        },
        schema=DECISIONS,
    )


def _is_first(values: np.ndarray) -> np.ndarray:
    """True where a value stands for the first time."""
    first = np.zeros(len(values), bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first
