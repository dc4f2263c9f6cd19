"""Packs rendered conversations into rows; the order of rows is pure in seed and k."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
from blake3 import blake3

from trainer.data.render import Rendered
from trainer.data.rows import Row
from trainer.losses.cross_entropy import IGNORE


class PackedRows:
    """Rows of packed conversations: packed once, shuffled anew each epoch."""

    def __init__(
        self,
        rendered: Sequence[Rendered],
        *,
        row_length: int,
        seed: int,
        pad_id: int,
        validation_share: float,
        validation_rows: int,
    ) -> None:
        """Split off the validation part by hash of the id and pack both.

        Raises:
            ValueError: no conversation is left to train on.
        """
        self.row_length = row_length
        self._seed = seed
        self._pad_id = pad_id
        train = [item for item in rendered if not held_out(item.id, validation_share)]
        held = [item for item in rendered if held_out(item.id, validation_share)]
        if not train:
            raise ValueError("no conversation is left to train on")
        shuffled = [train[i] for i in _order(seed, "pack", len(train))]
        self._rows = self._pack_all(shuffled)
        self._validation = {
            source: self._pack_all([item for item in held if item.source == source])[
                :validation_rows
            ]
            for source in sorted({item.source for item in held})
        }
        self._epoch, self._epoch_order = -1, np.empty(0, np.int64)
        self.train_conversations = len(train)
        self.validation_conversations = len(held)

    def __len__(self) -> int:
        """Rows of one epoch."""
        return len(self._rows)

    def row(self, k: int) -> Row:
        """Sample ``k``: place ``k mod rows`` of epoch ``k div rows``'s own permutation."""
        epoch, place = divmod(k, len(self._rows))
        if epoch != self._epoch:
            self._epoch = epoch
            self._epoch_order = _order(self._seed, f"epoch {epoch}", len(self._rows))
        return self._rows[self._epoch_order[place]]

    def validation(self) -> dict[str, list[Row]]:
        """Source -> rows of held-out conversations."""
        return self._validation

    def _pack_all(self, items: Sequence[Rendered]) -> list[Row]:
        return [self._pack(group) for group in _groups(items, self.row_length)]

    def _pack(self, group: Sequence[Rendered]) -> Row:
        inputs = np.full(self.row_length, self._pad_id, np.int64)
        labels = np.full(self.row_length, IGNORE, np.int64)
        segments = np.full(self.row_length, len(group), np.int32)
        start = 0
        for number, item in enumerate(group):
            end = start + len(item.ids)
            inputs[start:end] = item.ids
            segments[start:end] = number
            labels[start : end - 1] = np.where(item.trained[1:], item.ids[1:], IGNORE)
            start = end
        return Row(inputs, labels, segments)


def held_out(identity: str, share: float) -> bool:
    """Whether a conversation is kept for the validation loss: by hash of its id alone."""
    number = int.from_bytes(blake3(f"validation\0{identity}".encode()).digest(4), "little")
    return number < share * 2**32


def _groups(items: Sequence[Rendered], row_length: int) -> Iterator[list[Rendered]]:
    """Next-fit: fill a row in order, start a new one where the next does not fit."""
    group: list[Rendered] = []
    used = 0
    for item in items:
        if used + len(item.ids) > row_length and group:
            yield group
            group, used = [], 0
        group.append(item)
        used += len(item.ids)
    if group:
        yield group


def _order(seed: int, purpose: str, count: int) -> np.ndarray:
    """A permutation of ``range(count)`` that depends on nothing but the arguments."""
    key = blake3(json.dumps([seed, purpose]).encode()).digest(8)
    return np.random.default_rng(int.from_bytes(key, "little")).permutation(count)
