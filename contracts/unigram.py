"""The unigram baseline: tokens at their frequency in the training store."""

from pathlib import Path

import numpy as np

from contracts.token_store import STORE_NAME, TokenStoreMeta, shard_tokens

_CHUNK = 1 << 22


def count_tokens(root: Path) -> np.ndarray:
    """How often each id occurs in the token store at ``root``, shape (vocabulary,), i64."""
    meta = TokenStoreMeta.model_validate_json((root / STORE_NAME).read_text(encoding="utf-8"))
    counts = np.zeros(meta.vocab_size, dtype=np.int64)
    for shard in meta.shards:
        tokens = shard_tokens(root, meta, shard)
        for start in range(0, len(tokens), _CHUNK):
            counts += np.bincount(tokens[start : start + _CHUNK], minlength=meta.vocab_size)
    return counts


def unigram_log_probs(counts: np.ndarray) -> np.ndarray:
    """Natural-log probability of each id, add-one smoothed: ``(c + 1) / (N + V)``.

    Args:
        counts: occurrences of each id, shape (vocabulary,).

    Returns:
        Shape (vocabulary,), f64.
    """
    return np.log((counts + 1.0) / (counts.sum() + len(counts)))
