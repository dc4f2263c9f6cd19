"""A decode step's layers in one native call, for Llama's layers in bf16 on matrix tiles."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from serving.native.build import library
from serving.native.kernels import takes, takes_heads
from serving.native.linear import FEW_ROWS, TileLinear, has_tiles, is_taken

_P, _N, _D = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double


@dataclass(frozen=True)
class LayerParts:
    """What a layer is made of."""

    norms: tuple[Any, Any]
    """Before attention and before the perceptron."""
    mixed: TileLinear
    """Queries, keys and values from one product."""
    out: TileLinear
    both: TileLinear
    """Gates and ups from one product; ``silu(gate) * up`` goes into ``down``."""
    down: TileLinear
    heads: int
    kv_heads: int
    head_dim: int
    scale: float

    @property
    def products(self) -> tuple[TileLinear, ...]:
        """Its products in order."""
        return self.mixed, self.out, self.both, self.down

    @property
    def fits(self) -> bool:
        """Whether the kernels take its numbers and sizes."""
        half = all(norm.weight.dtype is torch.bfloat16 for norm in self.norms)
        tiled = all(p.tiled and is_taken(p.weight, p.bias) for p in self.products)
        weight = self.mixed.weight
        heads = takes_heads(weight, self.head_dim) and self.head_dim % 32 == 0
        return half and tiled and heads and takes(weight, *weight.shape, self.down.in_features)


class _Norm(ctypes.Structure):
    _fields_ = (("weight", _P), ("epsilon", _D))


class _Product(ctypes.Structure):
    _fields_ = (("weight", _P), ("bias", _P), ("inputs", _N), ("outputs", _N))


class _Layer(ctypes.Structure):
    _fields_ = (
        *(("first", _Norm), ("second", _Norm)),
        *((name, _Product) for name in ("mixed", "out", "both", "down")),
        *(("heads", _N), ("kv_heads", _N), ("size", _N), ("scale", _D)),
    )


class _Step(ctypes.Structure):
    _fields_ = (
        *((name, _P) for name in ("cosines", "sines", "writes", "tables", "lengths")),
        *((name, _N) for name in ("table_stride", "block", "rows", "hidden")),
    )


class _Space(ctypes.Structure):
    _fields_ = tuple(
        (name, _P) for name in ("hidden", "normed", "mixed", "seen", "added", "both", "whole")
    )


@dataclass(frozen=True)
class Pages:
    """Where the rows of a step find and leave keys and values."""

    cache: torch.Tensor
    """(layers, places, 2, kv_heads, head_dim)."""
    writes: torch.Tensor
    """(rows,): place of each row's own."""
    tables: torch.Tensor
    """Blocks of each row, (rows, blocks)."""
    lengths: torch.Tensor
    """(rows,): tokens of each row."""
    block_size: int


class NativeLayers:
    """The layers of a decoder. Weights stay where they are, so that new ones are seen."""

    def __init__(self, parts: Sequence[LayerParts]) -> None:
        self._parts = parts
        self._layers = (_Layer * len(parts))(*map(_layer, parts))
        self._run = library().layers
        self._run.argtypes = (_P, _N, _P, _P, _P, _N)
        self._run.restype = None

    def takes(self, hidden: torch.Tensor, cos: torch.Tensor, cache: torch.Tensor) -> bool:
        """Whether a step is of few enough rows, and its numbers are bf16."""
        half = hidden.dtype is cos.dtype is cache.dtype is torch.bfloat16
        return half and 0 < len(hidden) <= FEW_ROWS

    def __call__(
        self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, pages: Pages
    ) -> torch.Tensor:
        """What the last layer adds to the hidden states, of shape (rows, hidden).

        Args:
            hidden: (rows, hidden); all but what is returned is added to them in place.
            cos: (rows, 1, head_dim), as ``Kernels.rotate`` takes them; ``sin`` likewise.
            sin: see ``cos``.
            pages: keys and values; those of the rows are written.
        """
        first, rows = self._parts[0], len(hidden)
        sizes = [len(p.weight) for p in first.products]
        mixed, added, both, _ = (hidden.new_empty(rows, size) for size in sizes)
        normed = torch.empty_like(hidden)
        seen = hidden.new_empty(rows, first.heads * first.head_dim)
        whole = hidden.new_empty(rows, first.down.in_features)
        kept = (hidden, normed, mixed, seen, added, both, whole)
        where = (cos.contiguous(), sin.contiguous(), pages.writes, pages.tables, pages.lengths)
        assert all(x.is_contiguous() for x in (*kept, *where, pages.cache))
        step = _Step(
            *(x.data_ptr() for x in where),
            *(pages.tables.stride(0), pages.block_size, rows, hidden.shape[1]),
        )
        space = _Space(*(x.data_ptr() for x in kept))
        self._run(
            ctypes.addressof(self._layers),
            len(self._parts),
            ctypes.addressof(step),
            ctypes.addressof(space),
            pages.cache.data_ptr(),
            pages.cache.stride(0),
        )
        return added


def native_layers(parts: Sequence[LayerParts | None]) -> NativeLayers | None:
    """All layers in one call, where there are kernels for each of them."""
    known = [part for part in parts if part is not None and part.fits]
    return NativeLayers(known) if known and len(known) == len(parts) and has_tiles() else None


def _layer(part: LayerParts) -> _Layer:
    norms = (_Norm(n.weight.data_ptr(), n.variance_epsilon) for n in part.norms)
    products = (
        _Product(
            p.weight.data_ptr(),
            None if p.bias is None else p.bias.data_ptr(),
            p.in_features,
            p.weight.shape[0],
        )
        for p in part.products
    )
    return _Layer(*norms, *products, part.heads, part.kv_heads, part.head_dim, part.scale)
