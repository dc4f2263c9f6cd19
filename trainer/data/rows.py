"""Rows and batches: what one training sample is once it is token ids.

A row holds one or more segments (documents, conversations) side by side. Positions
start again at each segment and attention stays inside it, so that a segment is trained
exactly as if it stood alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from trainer.losses.cross_entropy import IGNORE


@dataclass(frozen=True)
class Row:
    """One sample: input ids and, for each, the token that should follow."""

    inputs: np.ndarray
    """(length,) int64 token ids."""
    labels: np.ndarray
    """(length,) int64; ``IGNORE`` where no loss is taken."""
    segments: np.ndarray
    """(length,) int32, not decreasing: which segment a position belongs to."""

    @property
    def loss_tokens(self) -> int:
        """Positions that carry loss."""
        return int((self.labels != IGNORE).sum())


class RowSource(Protocol):
    """An endless, random-access sequence of training rows: pure in ``k``."""

    row_length: int

    def row(self, k: int) -> Row:
        """Sample ``k`` of the training order."""
        ...

    def validation(self) -> dict[str, list[Row]]:
        """Domain -> the rows its validation loss is taken on; the same at every call."""
        ...


@dataclass(frozen=True)
class Batch:
    """Rows laid end to end in one line, for one forward pass; tensors of shape (1, positions)."""

    inputs: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor
    """Counted from 0 in every segment."""
    lengths: list[int]
    """Of the segments, in order; they fill the line."""

    @property
    def loss_tokens(self) -> int:
        """Positions that carry loss, over all rows."""
        return int((self.labels != IGNORE).sum())


def empty_row(length: int) -> Row:
    """A row without loss: what ranks are padded with to equal numbers of micro-steps."""
    return Row(
        inputs=np.zeros(length, np.int64),
        labels=np.full(length, IGNORE, np.int64),
        segments=np.zeros(length, np.int32),
    )


def collate(rows: Sequence[Row]) -> Batch:
    """Lay rows end to end; a segment never goes on in the next row."""
    lengths = [int(n) for row in rows for n in _segment_lengths(row.segments)]
    positions = np.concatenate([np.arange(n) for n in lengths])
    return Batch(
        inputs=torch.from_numpy(np.concatenate([row.inputs for row in rows]))[None],
        labels=torch.from_numpy(np.concatenate([row.labels for row in rows]))[None],
        positions=torch.from_numpy(positions)[None],
        lengths=lengths,
    )


def _segment_lengths(segments: np.ndarray) -> np.ndarray:
    borders = np.flatnonzero(np.diff(segments)) + 1
    return np.diff(np.concatenate([[0], borders, [len(segments)]]))


def rank_rows(first: int, count: int, rank: int, world_size: int) -> range:
    """Sample numbers of one rank out of a global batch: round-robin from ``first``."""
    return range(first + rank, first + count, world_size)


def micro_steps(batch: int, world_size: int, micro_batch: int) -> int:
    """Forward passes per rank and step: what the rank with most samples needs."""
    most = -(-batch // world_size)
    return -(-most // micro_batch)
