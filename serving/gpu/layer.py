"""Norms, rotations and activations on a GPU, one kernel each; see ``layer_kernel``.

Of some five hundred short kernels of a step half are these, where torch's operations make them.
"""

import math

import torch

from serving.gpu.ready import power_of_two

_ROTATED = 4
"""Heads that a program turns."""
_GATED = 1024


def add_norm(
    hidden: torch.Tensor, added: torch.Tensor | None, weight: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """``hidden += added`` in place, and its root mean square norm, (rows, size), contiguous."""
    from serving.gpu.layer_kernel import add_norm_kernel

    rows, size = hidden.shape
    out = torch.empty_like(hidden)
    add_norm_kernel[(rows,)](
        hidden,
        added,
        weight,
        out,
        epsilon,
        SIZE=size,
        SIZE_PAD=power_of_two(size),
        ADD=added is not None,
        num_warps=8,
    )
    return out


def rotate(heads: torch.Tensor, turned: int, cos: torch.Tensor, sin: torch.Tensor) -> None:
    """Turn the first ``turned`` heads of (rows, heads, head_dim) in place.

    Args:
        heads: rows may lie apart; the heads of one lie together.
        turned: how many of them.
        cos: see ``serving.engine.lean.rotary``; contiguous.
        sin: likewise.
    """
    from serving.gpu.layer_kernel import rotate_kernel

    half = heads.shape[-1] // 2
    rotate_kernel[(len(heads), math.ceil(turned / _ROTATED))](
        heads,
        cos,
        sin,
        heads.stride(0),
        turned,
        HALF=half,
        HALF_PAD=power_of_two(half),
        TILE=_ROTATED,
    )


def gated(both: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up`` of (rows, 2 * size), contiguous: gate and up side by side."""
    from serving.gpu.layer_kernel import gated_kernel

    rows, size = len(both), both.shape[1] // 2
    out = torch.empty(rows, size, dtype=both.dtype, device=both.device)
    gated_kernel[(rows, math.ceil(size / _GATED))](both, out, SIZE=size, TILE=_GATED)
    return out
