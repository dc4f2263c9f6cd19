"""Keys and values of all sequences, token by token, in bf16/fp32 or in 8 bits.

A place is ``block * block_size + offset``. Keys and values of a place lie side by side, so
that one gather fetches both. Place 0 is read as padding and never written; what padding
rows compute goes to place 1.

In 8 bits each key and each value vector of one token and head has a scale and a zero of its
own: ``x = code * scale + zero`` with code in -128..127, scale = (max - min) / 255 (asymmetric
per-token quantisation, as in KIVI, Liu et al. 2024, arXiv 2402.02750, for values).
"""

from dataclasses import dataclass

import torch

from serving.gpu.encode import encode_into
from serving.gpu.ready import runs_kernels

PAD_READ = 0
PAD_WRITE = 1
_LEVELS = 255
_LOWEST = -128


@dataclass(frozen=True)
class CacheShape:
    """Sizes of a paged cache."""

    num_layers: int
    num_blocks: int
    block_size: int
    num_kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class Gathered:
    """Keys and values of some places."""

    values: torch.Tensor
    """(places, 2, kv_heads, head_dim): numbers, or codes."""
    scales: torch.Tensor | None = None
    """(places, 2, kv_heads), float32, where ``values`` are codes."""
    zeros: torch.Tensor | None = None


class PagedCache:
    """Keys and values in the model's own type."""

    def __init__(self, shape: CacheShape, dtype: torch.dtype, device: torch.device) -> None:
        places = shape.num_blocks * shape.block_size
        size = (shape.num_layers, places, 2, shape.num_kv_heads, shape.head_dim)
        self._values = torch.zeros(size, dtype=dtype, device=device)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole cache."""
        return self._values.nbytes

    @property
    def whole(self) -> torch.Tensor:
        """All keys and values, (layers, places, 2, kv_heads, head_dim)."""
        return self._values

    def write(self, layer: int, places: torch.Tensor, fresh: torch.Tensor) -> None:
        """Store keys and values of shape (tokens, 2, kv_heads, head_dim)."""
        self._values[layer].index_copy_(0, places, fresh)

    def table(self, rows: int, span: int) -> torch.Tensor:
        """Room for rows of their own, all zeros: (layers, rows, 2, kv_heads, span, head_dim)."""
        layers, _, two, heads, size = self._values.shape
        return self._values.new_zeros(layers, rows, two, heads, span, size)

    def table_bytes(self, rows: int, span: int) -> int:
        """Bytes of such a table."""
        return self._values[:, 0].nbytes * rows * span

    def pages(self, layer: int) -> Gathered:
        """Keys and values of all places, as they lie."""
        return Gathered(self._values[layer])

    def gather(self, layer: int, places: torch.Tensor) -> Gathered:
        """Keys and values of the places."""
        return Gathered(self._values[layer].index_select(0, places))


class Int8Cache:
    """Keys and values in 8 bits, with a float32 scale and zero per token and head."""

    def __init__(self, shape: CacheShape, device: torch.device) -> None:
        places = shape.num_blocks * shape.block_size
        size = (shape.num_layers, places, 2, shape.num_kv_heads)
        self._codes = torch.zeros((*size, shape.head_dim), dtype=torch.int8, device=device)
        self._scales = torch.zeros(size, device=device)
        self._zeros = torch.zeros(size, device=device)
        self._kernels = runs_kernels(device)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole cache."""
        return self._codes.nbytes + self._scales.nbytes + self._zeros.nbytes

    def write(self, layer: int, places: torch.Tensor, fresh: torch.Tensor) -> None:
        """Round and store keys and values of shape (tokens, 2, kv_heads, head_dim)."""
        if self._kernels:
            own = self._codes[layer], self._scales[layer], self._zeros[layer]
            encode_into(fresh, places, *own)
            return
        codes, scales, zeros = encode(fresh)
        self._codes[layer][places] = codes
        self._scales[layer][places] = scales
        self._zeros[layer][places] = zeros

    def pages(self, layer: int) -> Gathered:
        """Codes, scales and zeros of all places, as they lie."""
        return Gathered(self._codes[layer], self._scales[layer], self._zeros[layer])

    def gather(self, layer: int, places: torch.Tensor) -> Gathered:
        """Codes, scales and zeros of the places."""
        return Gathered(
            self._codes[layer].index_select(0, places),
            self._scales[layer].index_select(0, places),
            self._zeros[layer].index_select(0, places),
        )


def encode(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes of the last dimension's vectors, and the scale and zero of each (float32)."""
    low, high = x.float().aminmax(dim=-1)
    scales = (high - low) / _LEVELS
    safe = torch.where(scales == 0, torch.ones_like(scales), scales)
    steps = (x.float() - low[..., None]) / safe[..., None]
    codes = (steps.round().clamp(0, _LEVELS) + _LOWEST).to(torch.int8)
    return codes, scales, low - _LOWEST * scales


def decode(codes: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor) -> torch.Tensor:
    """The numbers that codes stand for, float32."""
    return codes.float() * scales[..., None] + zeros[..., None]
