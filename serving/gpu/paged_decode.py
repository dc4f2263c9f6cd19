"""Decode attention straight over the pages of the cache; see ``decode_kernel``."""

import math
from dataclasses import dataclass

import torch

from serving.engine.cache import Gathered
from serving.gpu.ready import dot_type, multiprocessors, power_of_two

_TILE = 64
"""Tokens that a program reads at once."""
_LEAST = 128
"""Tokens below which a sequence is not cut."""
_MOST_SPLITS = 64
_WAVES = 4
"""Programs per processor that a launch aims at."""
_FEWEST_ROWS = 16
"""Rows of the smallest matrix product there is."""


@dataclass(frozen=True)
class PagedRows:
    """Decode rows and where their tokens lie."""

    tables: torch.Tensor
    """(rows, blocks): cache blocks of each row in order, padded with 0; any integer type."""
    lengths: torch.Tensor
    """(rows,): tokens of each row, its newest included; at least 1."""
    block_size: int
    splits: int
    """Parts that each row's tokens are cut into; a power of two."""


def splits_for(rows: int, kv_heads: int, longest: int, device: torch.device) -> int:
    """Parts to cut rows into, by the number of programs that keep a device busy.

    It depends on no row's length, so that one launch fits all steps of so many rows.

    Args:
        rows: decode rows.
        kv_heads: key heads.
        longest: tokens of the longest sequence there may be.
        device: where it runs.
    """
    wanted = math.ceil(_WAVES * multiprocessors(device) / (rows * kv_heads))
    most = min(_MOST_SPLITS, math.ceil(longest / _LEAST))
    return power_of_two(max(1, min(wanted, most)))


def paged_decode(
    queries: torch.Tensor, pages: Gathered, rows: PagedRows, scale: float
) -> torch.Tensor:
    """Attention of one query per row over all of its tokens.

    Args:
        queries: (rows, heads, head_dim).
        pages: all places of a layer: numbers, or codes with scales and zeros.
        rows: whose tokens lie where.
        scale: factor of the scores.

    Returns:
        (rows, heads, head_dim), contiguous.
    """
    from serving.gpu.decode_kernel import join_kernel, part_kernel

    count, heads, size = queries.shape
    kv_heads = pages.values.shape[2]
    group = heads // kv_heads
    queries = queries if queries.stride(2) == 1 else queries.contiguous()
    out = torch.empty(count, heads, size, dtype=queries.dtype, device=queries.device)
    whole = out.numel() * rows.splits if rows.splits > 1 else 0
    parts = torch.empty(whole, dtype=torch.float32, device=queries.device)
    stats = torch.empty(whole // size * 2, dtype=torch.float32, device=queries.device)
    size_pad = max(16, power_of_two(size))
    part_kernel[(count, kv_heads, rows.splits)](
        queries,
        pages.values,
        pages.scales,
        pages.zeros,
        rows.tables,
        rows.lengths,
        parts,
        stats,
        out,
        scale * math.log2(math.e),
        queries.stride(0),
        queries.stride(1),
        rows.tables.stride(0),
        kv_heads,
        GROUP=group,
        GROUP_PAD=max(_FEWEST_ROWS, power_of_two(group)),
        SIZE=size,
        SIZE_PAD=size_pad,
        BLOCK=rows.block_size,
        TILE=_TILE,
        SPLITS=rows.splits,
        INT8=pages.scales is not None,
        DOT=dot_type(queries.dtype),
        num_warps=4,
        num_stages=3,
    )
    if rows.splits > 1:
        join_kernel[(count * heads,)](
            parts, stats, out, SIZE=size, SIZE_PAD=size_pad, SPLITS=rows.splits
        )
    return out
