"""The windows of a token store as plain arrays, for peers that keep fixed-size samples."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def windows(store: Path, length: int) -> Iterator[np.ndarray]:
    """Every window of ``length`` u16 tokens, shard by shard."""
    meta = json.loads((store / "store.json").read_text())
    for shard in meta["shards"]:
        tokens = np.fromfile(store / f"{shard['name']}.tok", dtype="<u2")
        for start in range(0, len(tokens) - length, length):
            yield tokens[start : start + length]
