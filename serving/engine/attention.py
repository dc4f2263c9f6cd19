"""The attention function that transformers' models call: over the paged cache.

A model's layers hand over queries, keys and values of one row of tokens; the batch that is
being computed says which tokens belong together and where their past lies.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface

from serving.engine.batch import Batch, Bucket, Resident, Segment
from serving.engine.cache import Gathered, Int8Cache, PagedCache, decode, encode
from serving.engine.int8 import int8_attention
from serving.gpu.paged_decode import PagedRows, paged_decode
from serving.native.kernels import Kernels
from serving.native.layers import Pages

ATTENTION = "inkstone_paged"
_WIDENED = 1 << 14
"""Places whose codes become numbers at once: what is computed on the way is in fp32."""


class _Active(threading.local):
    """What this thread's forward runs over; several engines may live in one process."""

    batch: Batch | None = None
    cache: PagedCache | Int8Cache | None = None
    compiled: Kernels | None = None


_active = _Active()


@contextmanager
def attending(
    batch: Batch, cache: PagedCache | Int8Cache, compiled: Kernels | None = None
) -> Iterator[None]:
    """Models that run inside the block attend over this batch and cache.

    ``compiled`` kernels read the pages of the batch, where it names any.
    """
    _active.batch, _active.cache, _active.compiled = batch, cache, compiled
    try:
        yield
    finally:
        _active.batch = _active.cache = _active.compiled = None


def active_lengths() -> torch.Tensor | None:
    """The text's length that each row's angles follow, (1, rows); None is its position + 1."""
    return None if _active.batch is None else _active.batch.lengths


def paged_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention in the form transformers calls it.

    Args:
        module: the attention layer; its ``layer_idx`` says which part of the cache is its.
        query: (1, heads, rows, head_dim).
        key: (1, kv_heads, rows, head_dim); ``value`` likewise.
        value: see ``key``.
        attention_mask: ignored; the batch says who sees whom.
        scaling: factor of the scores; by default 1 / sqrt(head_dim).

    Returns:
        (1, rows, heads, head_dim), and None for the weights.
    """
    layer: int = module.layer_idx  # type: ignore[assignment]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    fresh = torch.stack((key[0], value[0])).permute(2, 0, 1, 3)
    return attend(layer, query[0].transpose(0, 1), fresh, scale)[None], None


AttentionInterface.register(ATTENTION, paged_attention)


def active_pages() -> Pages | None:
    """Where all rows find their keys and values, in a forward that only decodes over plain ones."""
    batch, cache = _active.batch, _active.cache
    if batch is None or batch.paged is None or batch.segments or batch.buckets:
        return None
    if not isinstance(cache, PagedCache):
        return None
    paged = batch.paged
    return Pages(cache.whole, batch.writes, paged.tables, paged.lengths, paged.block_size)


def attend(layer: int, queries: torch.Tensor, fresh: torch.Tensor, scale: float) -> torch.Tensor:
    """Store a layer's keys and values, and attend over the active batch.

    Args:
        layer: which layer.
        queries: (rows, heads, head_dim).
        fresh: keys and values, (rows, 2, kv_heads, head_dim).
        scale: factor of the scores.

    Returns:
        (rows, heads, head_dim).
    """
    batch, cache = _active.batch, _active.cache
    assert batch is not None
    assert cache is not None
    cache.write(layer, batch.writes, fresh)
    parts = []
    if batch.paged is not None:
        rows = slice(0, len(batch.paged.lengths))
        parts.append(_paged(queries[rows], cache.pages(layer), batch.paged, scale))
    for bucket in batch.buckets:
        rows = slice(bucket.first, bucket.first + bucket.count)
        if bucket.resident is not None:
            both = _resident(cache, layer, bucket.resident, fresh[rows])
            parts.append(_decode_plain(queries[rows], both, bucket.mask, scale))
            continue
        parts.append(_decode(queries[rows], cache.gather(layer, bucket.places), bucket, scale))
    for segment in batch.segments:
        rows = slice(segment.first, segment.first + segment.count)
        seen = _seen(cache, layer, segment, fresh[rows])
        parts.append(_prefill(queries[rows], seen, segment, scale))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _paged(queries: torch.Tensor, pages: Gathered, paged: PagedRows, scale: float) -> torch.Tensor:
    """One query per row over its pages; shapes (rows, heads, head_dim)."""
    compiled = _active.compiled
    if compiled is None:
        return paged_decode(queries, pages, paged, scale)
    where = paged.tables, paged.lengths, paged.block_size
    return compiled.decode(queries, pages.values, *where, scale)


def _seen(
    cache: PagedCache | Int8Cache, layer: int, segment: Segment, fresh: torch.Tensor
) -> Gathered:
    """Keys and values that a segment looks at."""
    if isinstance(cache, PagedCache) and not segment.past:
        return Gathered(fresh)
    if not segment.apart:
        return cache.gather(layer, segment.places)
    if isinstance(cache, Int8Cache):
        # Scored tokens lose to rounding what generated ones lose.
        fresh = decode(*encode(fresh)).to(fresh.dtype)
    past = cache.gather(layer, segment.places)
    return Gathered(torch.cat((plain(past, fresh.dtype), fresh)))


def plain(gathered: Gathered, dtype: torch.dtype) -> torch.Tensor:
    """Keys and values as numbers, (places, 2, kv_heads, head_dim)."""
    if gathered.scales is None or gathered.zeros is None:
        return gathered.values
    codes, scales, zeros = gathered.values, gathered.scales, gathered.zeros
    numbers = torch.empty(codes.shape, dtype=dtype, device=codes.device)
    for start in range(0, len(codes), _WIDENED):
        some = slice(start, start + _WIDENED)
        numbers[some] = decode(codes[some], scales[some], zeros[some])
    return numbers


def _resident(
    cache: PagedCache | Int8Cache, layer: int, resident: Resident, fresh: torch.Tensor
) -> torch.Tensor:
    """Keys and values of a bucket's rows from their table, brought up to date."""
    table = resident.table.by_place(layer)
    if len(resident.new):
        gathered = cache.gather(layer, resident.new_places).values
        table[resident.new] = gathered.unflatten(0, (len(resident.new), -1))
    table[resident.rows, resident.ends] = fresh
    return resident.table.seen(layer, len(fresh))


def _decode(queries: torch.Tensor, seen: Gathered, bucket: Bucket, scale: float) -> torch.Tensor:
    """One query per row over its own places; shapes (rows, heads, head_dim)."""
    rows = len(queries)
    both = seen.values.unflatten(0, (rows, -1)).permute(2, 0, 3, 1, 4)
    if seen.scales is None or seen.zeros is None:
        return _decode_plain(queries, both, bucket.mask, scale)
    scales = seen.scales.unflatten(0, (rows, -1)).permute(2, 0, 3, 1)
    zeros = seen.zeros.unflatten(0, (rows, -1)).permute(2, 0, 3, 1)
    folded = _folded(queries, both.shape[2])
    out = int8_attention(folded, both[0], both[1], scales, zeros, bucket.mask, scale)
    return out.reshape(queries.shape)


def _decode_plain(
    queries: torch.Tensor, both: torch.Tensor, mask: torch.Tensor, scale: float
) -> torch.Tensor:
    """The same over keys and values in one tensor, (2, rows, kv_heads, span, head_dim)."""
    out = functional.scaled_dot_product_attention(
        _folded(queries, both.shape[2]), both[0], both[1], attn_mask=mask, scale=scale
    )
    return out.reshape(queries.shape)


def _folded(queries: torch.Tensor, kv_heads: int) -> torch.Tensor:
    """Query heads that share a key head as rows of one small product."""
    rows, heads, size = queries.shape
    return queries.reshape(rows, kv_heads, heads // kv_heads, size)


def _prefill(queries: torch.Tensor, seen: Gathered, segment: Segment, scale: float) -> torch.Tensor:
    """Many queries of one sequence; shapes (rows, heads, head_dim)."""
    mask = segment.mask
    query = queries.transpose(0, 1)[None]
    # Codes are unpacked, for one layer at a time: the fused kernels know none, and the scores of
    # a chunk over a long past would take many times the memory of its keys and values.
    both = plain(seen, queries.dtype)
    keys, values = both.permute(1, 2, 0, 3).unsqueeze(1)
    behind = mask is None and segment.past > 0
    out = functional.scaled_dot_product_attention(
        query,
        keys,
        values,
        attn_mask=causal_lower_right(segment.count, len(both)) if behind else mask,
        is_causal=mask is None and not behind and segment.count > 1,
        scale=scale,
        enable_gqa=query.shape[1] != keys.shape[1],
    )
    return out[0].transpose(0, 1)
