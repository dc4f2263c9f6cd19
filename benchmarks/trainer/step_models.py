"""The models and batches that the trainer's speed is measured on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.trainer.no_tokenizer import NoTokenizer
from trainer.config import ModelShape
from trainer.data.rows import Row
from trainer.models.llama import new_model

LENGTH = 512
ROWS = 4
"""Rows of a step: 2,048 tokens."""


@dataclass(frozen=True)
class Size:
    """A model size."""

    shape: ModelShape
    vocabulary: int

    def model(self, dtype: torch.dtype = torch.bfloat16) -> Any:
        """A fresh model, always the same."""
        return new_model(self.shape, self.vocabulary, NoTokenizer(), seed=1, dtype=dtype)


SIZES = {
    "10M": Size(
        ModelShape(
            hidden_size=288, num_layers=6, num_heads=6, num_kv_heads=6, mlp_size=768,
            max_positions=LENGTH,
        ),
        16_000,
    ),
    "50M": Size(
        ModelShape(
            hidden_size=512, num_layers=12, num_heads=8, num_kv_heads=8, mlp_size=1408,
            max_positions=LENGTH,
        ),
        22_000,
    ),
}  # fmt: skip


class RandomRows:
    """Rows of random ids, each one document, made beforehand."""

    row_length = LENGTH

    def __init__(self, vocabulary: int, count: int = 64) -> None:
        chance = np.random.default_rng(3)
        self.ids = chance.integers(0, vocabulary, (count, LENGTH + 1))

    def row(self, k: int) -> Row:
        """Sample ``k``."""
        ids = self.ids[k % len(self.ids)]
        return Row(ids[:-1], ids[1:], np.zeros(LENGTH, np.int32))

    def validation(self) -> dict[str, list[Row]]:
        """None."""
        return {}
