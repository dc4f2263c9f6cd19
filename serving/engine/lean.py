"""Llama's layers with fewer, larger operations.

A small batch spends more time between operations than in them. Here queries, keys and values
come from one product, gate and up projections from another, and nothing else is computed than
the model's own modules would. The modules' weights become views of the joined ones, so that
weights updated in place are seen here.
"""

from typing import Any

import torch
from torch import nn

from serving.engine.attention import attend
from serving.engine.pieces import Pieces, is_silu
from serving.lora.site import Adapted
from serving.native.layers import LayerParts
from serving.native.linear import TileLinear
from serving.quant.linear import Int4Linear, join_int4


class LeanLayer:
    """One decoder layer of the Llama, Mistral, Qwen2 or Qwen3 family."""

    def __init__(self, layer: Any, pieces: Pieces) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._index: int = attention.layer_idx
        self._size: int = attention.head_dim
        self._scale: float = attention.scaling
        self._pieces = pieces
        self._norms = (layer.input_layernorm, layer.post_attention_layernorm)
        self._head_norms = (
            (attention.q_norm, attention.k_norm) if hasattr(attention, "q_norm") else None
        )
        self._heads = attention.q_proj.out_features // self._size
        self._kv_heads = attention.k_proj.out_features // self._size
        turned = self._heads + self._kv_heads
        self._split = (slice(0, self._heads), slice(self._heads, turned))
        """Which heads of the joined product are queries, and which keys."""
        self._qkv = _join([attention.q_proj, attention.k_proj, attention.v_proj])
        self._out = attention.o_proj
        self._gate_up = _join([mlp.gate_proj, mlp.up_proj])
        self._down = mlp.down_proj
        self._activate = mlp.act_fn
        self._gates_at_once = is_silu(mlp.act_fn) and isinstance(self._gate_up, Adapted)

    def __call__(
        self,
        hidden: torch.Tensor,
        added: torch.Tensor | None,
        cos: torch.Tensor,
        sin: torch.Tensor,
    ) -> torch.Tensor:
        """What the layer adds to the hidden states.

        Args:
            hidden: (rows, hidden); changed in place, but for what is returned.
            added: what the layer before adds to them.
            cos: see ``rotary``.
            sin: see ``rotary``.
        """
        return self.transform(hidden, self.attend(hidden, added, cos, sin))

    def attend(
        self,
        hidden: torch.Tensor,
        added: torch.Tensor | None,
        cos: torch.Tensor,
        sin: torch.Tensor,
    ) -> torch.Tensor:
        """Store keys and values; what the heads saw, (rows, heads * head_dim)."""
        pieces = self._pieces
        mixed = self._qkv(pieces.add_norm(hidden, added, self._norms[0]))
        mixed = mixed.view(len(hidden), -1, self._size)
        if self._head_norms is not None:
            for norm, heads in zip(self._head_norms, self._split, strict=True):
                mixed[:, heads] = pieces.add_norm(mixed[:, heads], None, norm)
        pieces.rotate(mixed, self._split[1].stop, cos, sin)
        query, fresh = mixed[:, : self._heads], mixed[:, self._heads :]
        fresh = fresh.unflatten(1, (2, self._kv_heads))
        return attend(self._index, query, fresh, self._scale).reshape(len(hidden), -1)

    def transform(self, hidden: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """The rest of the layer, from what the heads saw of each row."""
        pieces = self._pieces
        added = self._out(seen)
        x = pieces.add_norm(hidden, added, self._norms[1])
        whole = self._gate_up.gated(x) if self._gates_at_once else None
        if whole is None:
            whole = pieces.gated(self._gate_up(x), self._activate)
        return self._down(whole)

    def parts(self) -> LayerParts | None:
        """What it is made of, for one native call; None where that could not do the same."""
        joined = [p.joined if isinstance(p, Adapted) else p for p in (self._qkv, self._gate_up)]
        products: tuple[Any, Any, Any, Any] = (joined[0], self._out, joined[1], self._down)
        if self._head_norms or not self._gates_at_once:
            return None
        if any(type(product) is not TileLinear for product in products):
            return None
        sizes = (self._heads, self._kv_heads, self._size, self._scale)
        return LayerParts(self._norms, *products, *sizes)


def rotary(cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Angles of shape (1, rows, head_dim) for ``x * cos + x.roll(half) * sin``, (rows, 1, ...).

    The rotation takes the second half with a minus sign in front; here the sine carries it.
    """
    half = sin.shape[-1] // 2
    signed = torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)
    return cos[0, :, None], signed[0, :, None]


def _join(layers: list[Any]) -> Any:
    """One layer that gives the outputs of several side by side."""
    if all(isinstance(layer, Int4Linear) for layer in layers):
        packed = join_int4(layers)
        return Adapted(packed, layers) if isinstance(packed, nn.Module) else packed
    first = layers[0]
    kind = type(first)
    if kind not in (nn.Linear, TileLinear) or any(type(layer) is not kind for layer in layers):
        return lambda x: torch.cat([layer(x) for layer in layers], dim=-1)
    joined = kind(first.in_features, 1, bias=first.bias is not None, device="meta")
    for name in ("weight", "bias"):
        parts = [getattr(layer, name) for layer in layers]
        if parts[0] is None:
            continue
        whole = torch.cat([part.data for part in parts])
        setattr(joined, name, nn.Parameter(whole, requires_grad=False))
        for part, piece in zip(parts, whole.split([len(p) for p in parts]), strict=True):
            part.data = piece
    if isinstance(joined, TileLinear):
        joined.tiled = first.tiled
    return Adapted(joined, layers)
