"""Linear layers over 4-bit weights on a GPU; see ``int4_kernel``."""

import math
from functools import cache

import torch

from serving.gpu.ready import dot_type, multiprocessors, power_of_two
from serving.quant.rounding import Packed

_DENSE_ROWS = 128
"""Rows of activations from which on weights are made bf16 first: the product then is limited by
arithmetic, not by reading weights, and cuBLAS's is the faster one."""
_ROW_OUTS, _ROW_TILE = 8, 512
_ROWS_OUTS = 32
_WIDEN_OUTS, _WIDEN_TILE = 4, 512
_WAVES = 4
"""Programs per processor that a launch aims at."""


def int4_linear(x: torch.Tensor, packed: Packed, bias: torch.Tensor | None) -> torch.Tensor:
    """``x @ weight.T + bias`` by the kernel that suits the number of rows.

    Args:
        x: activations, (rows, in), bf16 or fp32, contiguous.
        packed: the weights, (out, in); groups of 32, 64, 128 or another power of two.
        bias: (out,).

    Returns:
        (rows, out) in the type of ``x``. One row comes from multiplying and adding, some from
        matrix products of a group each, many from cuBLAS over weights made bf16 for it.
    """
    if len(x) >= _DENSE_ROWS:
        return torch.nn.functional.linear(x, widen(packed, x.dtype), bias)
    return _one_row(x, packed, bias) if len(x) == 1 else _some_rows(x, packed, bias)


def widen(packed: Packed, dtype: torch.dtype) -> torch.Tensor:
    """The weights that the codes stand for, (out, in)."""
    from serving.gpu.int4_kernel import widen_kernel

    outs, half = packed.codes.shape
    weight = torch.empty(outs, 2 * half, dtype=dtype, device=packed.codes.device)
    grid = (math.ceil(outs / _WIDEN_OUTS), math.ceil(half / _WIDEN_TILE))
    widen_kernel[grid](
        packed.codes,
        packed.scales,
        packed.zeros,
        weight,
        outs,
        HALF=half,
        GROUP=_group_size(packed),
        OUTS=_WIDEN_OUTS,
        TILE=_WIDEN_TILE,
    )
    return weight


def _one_row(x: torch.Tensor, packed: Packed, bias: torch.Tensor | None) -> torch.Tensor:
    from serving.gpu.int4_kernel import row_kernel

    outs, half = packed.codes.shape
    out = torch.empty(len(x), outs, dtype=x.dtype, device=x.device)
    row_kernel[(math.ceil(outs / _ROW_OUTS), len(x))](
        x,
        packed.codes,
        packed.scales,
        packed.zeros,
        bias,
        out,
        outs,
        HALF=half,
        GROUP=_group_size(packed),
        OUTS=_ROW_OUTS,
        TILE=_ROW_TILE,
        BIAS=bias is not None,
        num_warps=4,
    )
    return out


def _some_rows(x: torch.Tensor, packed: Packed, bias: torch.Tensor | None) -> torch.Tensor:
    from serving.gpu.int4_kernel import rows_kernel

    outs, half = packed.codes.shape
    group = _group_size(packed)
    tile = min(64, max(16, power_of_two(len(x))))
    blocks = math.ceil(outs / _ROWS_OUTS) * math.ceil(len(x) / tile)
    splits = _splits(blocks, 2 * half // group, x.device)
    parts = torch.empty(splits, len(x), outs, dtype=torch.float32, device=x.device)
    rows_kernel[(math.ceil(outs / _ROWS_OUTS), math.ceil(len(x) / tile), splits)](
        x,
        packed.codes,
        packed.scales,
        packed.zeros,
        parts,
        len(x),
        outs,
        HALF=half,
        GROUP=group,
        ROWS=tile,
        OUTS=_ROWS_OUTS,
        SPLITS=splits,
        DOT=dot_type(x.dtype),
        num_warps=4,
        num_stages=4,
    )
    out = parts[0] if splits == 1 else parts.sum(0)
    return (out if bias is None else out + bias).to(x.dtype)


@cache
def _splits(blocks: int, groups: int, device: torch.device) -> int:
    """Shares of a weight row's groups, so that a launch fills the device; a power of two."""
    wanted = max(1, _WAVES * multiprocessors(device) // blocks)
    return 1 << (min(wanted, groups).bit_length() - 1)


def _group_size(packed: Packed) -> int:
    return packed.codes.shape[1] * 2 // packed.scales.shape[1]
