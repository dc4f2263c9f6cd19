"""The block model: probability that a block is main text.

A network with one hidden layer, small enough to read a page's blocks in a fraction of a
millisecond. ``benchmarks/corpus/train_extraction.py`` trains it and writes ``model.json``.
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("model.json")


@lru_cache(maxsize=1)
def _weights() -> tuple[np.ndarray, ...]:
    saved = json.loads(FILE.read_text())
    first, first_bias, second, second_bias = (
        np.array(saved[name], np.float32)
        for name in ("first", "first_bias", "second", "second_bias")
    )
    return first, first_bias, second, second_bias


def probabilities(features: np.ndarray) -> np.ndarray:
    """Main-text probability per block, f32 of shape (blocks,)."""
    first, first_bias, second, second_bias = _weights()
    hidden = np.maximum(features @ first + first_bias, 0)
    return 1 / (1 + np.exp(-np.clip(hidden @ second + second_bias, -30, 30)))
