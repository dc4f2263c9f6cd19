"""The key-value cache: one slot of fixed length per running sequence.

Layers call ``update`` as they would on a transformers cache; each view below says where
the new keys go and what the queries may look at.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class CacheShape:
    """Sizes of a slot cache."""

    num_layers: int
    num_slots: int
    num_kv_heads: int
    max_context: int
    head_dim: int


class SlotCache:
    """Keys and values per layer, each of shape (slots, kv_heads, context, head_dim)."""

    def __init__(self, shape: CacheShape, dtype: torch.dtype) -> None:
        size = (shape.num_slots, shape.num_kv_heads, shape.max_context, shape.head_dim)
        self.keys = [torch.zeros(size, dtype=dtype) for _ in range(shape.num_layers)]
        self.values = [torch.zeros(size, dtype=dtype) for _ in range(shape.num_layers)]


class PrefillView:
    """Writes one sequence's first tokens into its slot; attention stays inside them."""

    def __init__(self, cache: SlotCache, slot: int) -> None:
        self._cache = cache
        self._slot = slot

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store keys and values of shape (1, kv_heads, tokens, head_dim), and return them."""
        length = keys.shape[2]
        self._cache.keys[layer][self._slot, :, :length] = keys[0]
        self._cache.values[layer][self._slot, :, :length] = values[0]
        return keys, values


class DecodeView:
    """Writes one token per slot at its position; attention sees ``span`` positions."""

    def __init__(self, cache: SlotCache, positions: torch.Tensor, span: int) -> None:
        self._cache = cache
        self._positions = positions
        self._span = span
        self._slots = torch.arange(positions.shape[0])

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store keys and values of shape (slots, kv_heads, 1, head_dim); return all of them."""
        layer_keys, layer_values = self._cache.keys[layer], self._cache.values[layer]
        layer_keys[self._slots, :, self._positions] = keys[:, :, 0]
        layer_values[self._slots, :, self._positions] = values[:, :, 0]
        return layer_keys[:, :, : self._span], layer_values[:, :, : self._span]
