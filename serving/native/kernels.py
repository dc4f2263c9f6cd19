"""The compiled kernels over tensors of the CPU: bf16 or float32, rows one after the other."""

import ctypes
from functools import lru_cache

import torch

from serving.native.build import library

_LANES = 16
"""Numbers that the kernels take at a time; sizes are multiples of it."""
_MAX_HEAD = 256
_TYPES = (torch.bfloat16, torch.float32)

_P, _N, _F = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_SIGNATURES = {
    "add_norm": (_P, _P, _P, _P, _N, _N, _F),
    "rotate": (_P, _P, _P, _N, _N, _N, _N),
    "swiglu": (_P, _P, _N, _N),
    "quantise": (_P, _P, _P, _N, _N),
    "rescale": (_P, _P, _P, _P, _N, _N),
    "likeliest": (_P, _P, _P, _N, _N),
    "decode": (_P, _N, _P, _P, _N, _P, _N, _N, _N, _N, _N, _F, _P),
}


class Kernels:
    """One method per kernel. Tensors are dense unless a stride is taken from them."""

    def __init__(self, compiled: ctypes.CDLL) -> None:
        for name, arguments in _SIGNATURES.items():
            function = getattr(compiled, name)
            function.argtypes = (ctypes.c_int, *arguments)
            function.restype = None
        self._add_norm = compiled.add_norm
        self._rotate = compiled.rotate
        self._swiglu = compiled.swiglu
        self._quantise = compiled.quantise
        self._rescale = compiled.rescale
        self._likeliest = compiled.likeliest
        self._decode = compiled.decode

    def add_norm(
        self,
        hidden: torch.Tensor,
        added: torch.Tensor | None,
        weight: torch.Tensor,
        epsilon: float,
    ) -> torch.Tensor:
        """``hidden += added`` in place; returns its root mean square norm times ``weight``.

        Shapes (rows, size) and (size,).
        """
        out = torch.empty_like(hidden)
        rows, size = hidden.shape
        self._add_norm(
            hidden.dtype is torch.bfloat16,
            _at(hidden),
            None if added is None else _at(added),
            _at(weight),
            out.data_ptr(),
            rows,
            size,
            epsilon,
        )
        return out

    def rotate(
        self, heads: torch.Tensor, turned: int, cos: torch.Tensor, sin: torch.Tensor
    ) -> None:
        """Turn the first ``turned`` of heads of shape (rows, heads, head_dim) in place.

        ``x * cos + roll(x, head_dim / 2) * sin``; cos and sin of shape (rows, 1, head_dim).
        """
        rows, _, size = heads.shape
        self._rotate(
            heads.dtype is torch.bfloat16,
            heads.data_ptr(),
            _at(cos),
            _at(sin),
            rows,
            heads.stride(0),
            turned,
            size,
        )

    def swiglu(self, both: torch.Tensor) -> torch.Tensor:
        """``silu(gate) * up`` of (rows, 2 * size): gate and up side by side."""
        rows, double = both.shape
        out = both.new_empty(rows, double // 2)
        self._swiglu(both.dtype is torch.bfloat16, _at(both), out.data_ptr(), rows, double // 2)
        return out

    def quantise(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """8-bit codes of each row and its scale (float32): ``x = code * scale``.

        A row with a number that is not finite has a scale of NaN.
        """
        rows, size = x.shape
        codes = torch.empty(rows, size, dtype=torch.int8)
        scales = torch.empty(rows)
        half = x.dtype is torch.bfloat16
        self._quantise(half, _at(x), codes.data_ptr(), _at(scales), rows, size)
        return codes, scales

    def rescale(
        self,
        x: torch.Tensor,
        scales: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """``x * scale + bias`` of float32 rows and their scales, rounded to ``dtype``."""
        out = torch.empty_like(x, dtype=dtype)
        self._rescale(
            dtype is torch.bfloat16,
            _at(x),
            _at(scales),
            None if bias is None else _at(bias),
            out.data_ptr(),
            *x.shape,
        )
        return out

    def likeliest(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The first of each row's largest numbers, and log(sum(exp(row))), float32.

        The latter is NaN where a number is NaN or the largest is not finite.

        Args:
            logits: (rows, size), of any size.
        """
        rows, size = logits.shape
        tokens, norms = torch.empty(rows, dtype=torch.int64), torch.empty(rows)
        half = logits.dtype is torch.bfloat16
        self._likeliest(half, _at(logits), _at(tokens), _at(norms), rows, size)
        return tokens, norms

    def decode(
        self,
        queries: torch.Tensor,
        pages: torch.Tensor,
        tables: torch.Tensor,
        lengths: torch.Tensor,
        block: int,
        scale: float,
    ) -> torch.Tensor:
        """Attention of one query per row over its pages of the cache.

        Args:
            queries: (rows, heads, head_dim); rows may be apart.
            pages: (places, 2, kv_heads, head_dim): keys and values.
            tables: blocks of each row, (rows, blocks), int64.
            lengths: tokens of each row, (rows,), int64; at least 1.
            block: places per block.
            scale: factor of the scores.

        Returns:
            (rows, heads, head_dim).
        """
        rows, heads, size = queries.shape
        if queries.stride()[1:] != (size, 1):
            queries = queries.contiguous()
        out = queries.new_empty(rows, heads, size)
        self._decode(
            queries.dtype is torch.bfloat16,
            queries.data_ptr(),
            queries.stride(0),
            _at(pages),
            _at(tables),
            tables.stride(0),
            _at(lengths),
            block,
            rows,
            heads,
            pages.shape[2],
            size,
            scale,
            out.data_ptr(),
        )
        return out


def _at(x: torch.Tensor) -> int:
    """Where a dense tensor lies."""
    assert x.is_contiguous()
    return x.data_ptr()


@lru_cache(maxsize=1)
def kernels() -> Kernels:
    """The kernels of this machine.

    Raises:
        NoKernels: they cannot be compiled here.
    """
    return Kernels(library())


def takes(x: torch.Tensor, *sizes: int) -> bool:
    """Whether the kernels are made for a tensor's numbers and vectors of these sizes."""
    return (
        x.device.type == "cpu" and x.dtype in _TYPES and all(size % _LANES == 0 for size in sizes)
    )


def takes_heads(x: torch.Tensor, size: int) -> bool:
    """Whether heads of this size can be attended to."""
    return takes(x, size) and size <= _MAX_HEAD
