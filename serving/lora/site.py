"""The adapters of one linear layer, and how they are added to what it gives.

Rows are grouped by adapter, so a batch costs two small products per adapter in it, not per row.
"""

from typing import Any

import torch
from torch import nn

from serving.lora.files import Pair
from serving.lora.route import active_routes
from serving.native.linear import TileLinear

Pairs = dict[str, Pair]
"""By the name of the adapter."""


def add_adapters(layer: nn.Module, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Add to ``out``, in place, what the adapters of the rows give; returns it.

    Args:
        layer: the base layer; its ``adapters`` are ``Pairs``, where it has any.
        x: inputs, (..., in).
        out: the layer's outputs, (..., out).
    """
    routes = active_routes()
    if routes is None:
        return out
    pairs: Pairs | None = layer.__dict__.get("adapters")
    if not pairs:
        return out
    rows_in, rows_out = x.flatten(0, -2), out.flatten(0, -2)
    for name, rows in routes.groups:
        pair = pairs.get(name)
        if pair is None:
            continue
        if routes.by_row:
            added = _product_by_row(rows_in, pair)
            added = added if rows is None else added[rows]
        else:
            added = _product(rows_in if rows is None else rows_in[rows], pair)
        if rows is None:
            rows_out += added
        else:
            rows_out.index_add_(0, rows, added)
    return out


def _product(x: torch.Tensor, pair: Pair) -> torch.Tensor:
    return (x @ pair.a.T) @ pair.b.T


def _product_by_row(x: torch.Tensor, pair: Pair) -> torch.Tensor:
    """The same, one product per row: of one product, a row's bits depend on its place in it."""
    count = len(x)
    low = torch.bmm(x[:, None], pair.a.T.expand(count, -1, -1))
    return torch.bmm(low, pair.b.T.expand(count, -1, -1))[:, 0]


def hook(layer: nn.Module, inputs: tuple[Any, ...], out: torch.Tensor) -> torch.Tensor:
    """``add_adapters`` as a forward hook, for layers that are called as modules."""
    return add_adapters(layer, inputs[0], out)


class Adapted:
    """A product that several layers share, with the adapters of each in its part."""

    def __init__(self, joined: nn.Module, layers: list[Any]) -> None:
        self._joined = joined
        self._layers = layers
        self._sizes = [layer.out_features for layer in layers]

    @property
    def joined(self) -> nn.Module:
        """The product without adapters."""
        return self._joined

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs side by side, (..., sum of out)."""
        out: torch.Tensor = self._joined(x)
        if active_routes() is not None:
            for layer, piece in zip(self._layers, out.split(self._sizes, dim=-1), strict=True):
                add_adapters(layer, x, piece)
        return out

    def gated(self, x: torch.Tensor) -> torch.Tensor | None:
        """``silu(gate) * up`` of the outputs in one kernel; None where none does that."""
        if active_routes() is not None or not isinstance(self._joined, TileLinear):
            return None
        return self._joined.gated(x)
