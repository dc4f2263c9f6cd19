"""One query per sequence over its pages: flash-decoding in Triton.

Each program takes the query heads that share a key head, of one row, over one part of the
row's tokens, and keeps a running softmax (Dao et al. 2022, arXiv 2205.14135, in powers of
two). A second kernel joins the parts (Dao et al. 2023, "Flash-Decoding"). Where codes of 8
bits lie in the pages, scales and zeros are folded into scores and weights as in
``serving.engine.int8``.

Triton's interpreter computes with bf16 only after a change to fp32 (``DOT``).
"""

import triton
import triton.language as tl


@triton.jit
def part_kernel(
    queries,
    values,
    scales,
    zeros,
    tables,
    lengths,
    parts,
    stats,
    out,
    factor,
    row_stride,
    head_stride,
    table_stride,
    kv_heads,
    GROUP: tl.constexpr,
    GROUP_PAD: tl.constexpr,
    SIZE: tl.constexpr,
    SIZE_PAD: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
    SPLITS: tl.constexpr,
    INT8: tl.constexpr,
    DOT: tl.constexpr,
):
    """Part ``program_id(2)`` of row 0's and key head 1's attention.

    ``factor`` is that of the scores times log2(e). With one split the result goes to ``out``
    (rows, heads, SIZE); else sums to ``parts`` (rows, heads, SPLITS, SIZE), and the largest
    score and the total weight to ``stats`` (rows, heads, SPLITS, 2).
    """
    row, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths + row).to(tl.int32)
    share = tl.cdiv(tl.cdiv(length, SPLITS), TILE) * TILE
    begin = split * share
    end = tl.minimum(begin + share, length)

    heads = tl.arange(0, GROUP_PAD)
    dims = tl.arange(0, SIZE_PAD)
    in_group, in_size = heads < GROUP, dims < SIZE
    head = kv_head * GROUP + heads
    own = in_group[:, None] & in_size[None, :]
    query_at = row.to(tl.int64) * row_stride + head[:, None] * head_stride + dims[None, :]
    query = tl.load(queries + query_at, mask=own, other=0.0).to(tl.float32)
    total = tl.sum(query, axis=1)
    query = query.to(DOT)

    top = tl.full((GROUP_PAD,), float("-inf"), tl.float32)
    weight = tl.zeros((GROUP_PAD,), tl.float32)
    shift = tl.zeros((GROUP_PAD,), tl.float32)
    mixed = tl.zeros((GROUP_PAD, SIZE_PAD), tl.float32)
    for start in range(begin, end, TILE):
        token = start + tl.arange(0, TILE)
        there = token < end
        block = tl.load(tables + row * table_stride + token // BLOCK, mask=there, other=0)
        place = block.to(tl.int64) * BLOCK + token % BLOCK
        key_at = (place * 2 * kv_heads + kv_head) * SIZE
        value_at = key_at + kv_heads * SIZE
        seen = there[:, None] & in_size[None, :]
        keys = tl.load(values + key_at[:, None] + dims[None, :], mask=seen, other=0)
        scores = tl.dot(query, tl.trans(keys.to(DOT)), input_precision="ieee")
        if INT8:
            scale_at = place * 2 * kv_heads + kv_head
            key_scale = tl.load(scales + scale_at, mask=there, other=0.0)
            key_zero = tl.load(zeros + scale_at, mask=there, other=0.0)
            scores = scores * key_scale[None, :] + total[:, None] * key_zero[None, :]
        scores = tl.where(there[None, :], scores * factor, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, axis=1))
        fade = tl.exp2(top - higher)
        weights = tl.exp2(scores - higher[:, None])
        weight = weight * fade + tl.sum(weights, axis=1)
        if INT8:
            value_scale = tl.load(scales + scale_at + kv_heads, mask=there, other=0.0)
            value_zero = tl.load(zeros + scale_at + kv_heads, mask=there, other=0.0)
            shift = shift * fade + tl.sum(weights * value_zero[None, :], axis=1)
            weights = weights * value_scale[None, :]
        entries = tl.load(values + value_at[:, None] + dims[None, :], mask=seen, other=0)
        added = tl.dot(weights.to(DOT), entries.to(DOT), input_precision="ieee")
        mixed = mixed * fade[:, None] + added
        top = higher
    mixed = mixed + shift[:, None]
    line = row.to(tl.int64) * kv_heads * GROUP + head
    if SPLITS == 1:
        mixed = mixed / weight[:, None]
        at = out + line[:, None] * SIZE + dims[None, :]
        tl.store(at, mixed.to(out.dtype.element_ty), mask=own)
    else:
        at = line * SPLITS + split
        tl.store(stats + at * 2, top, mask=in_group)
        tl.store(stats + at * 2 + 1, weight, mask=in_group)
        tl.store(parts + at[:, None] * SIZE + dims[None, :], mixed, mask=own)


@triton.jit
def join_kernel(
    parts,
    stats,
    out,
    SIZE: tl.constexpr,
    SIZE_PAD: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """The parts of row and head ``program_id(0)`` as one result, (rows * heads, SIZE)."""
    line = tl.program_id(0).to(tl.int64)
    splits, dims = tl.arange(0, SPLITS), tl.arange(0, SIZE_PAD)
    at = line * SPLITS + splits
    top = tl.load(stats + at * 2)
    weight = tl.load(stats + at * 2 + 1)
    share = tl.exp2(top - tl.max(top, axis=0))
    part_at = at[:, None] * SIZE + dims[None, :]
    part = tl.load(parts + part_at, mask=(dims < SIZE)[None, :], other=0.0)
    mixed = tl.sum(part * share[:, None], axis=0) / tl.sum(weight * share, axis=0)
    tl.store(out + line * SIZE + dims, mixed.to(out.dtype.element_ty), mask=dims < SIZE)
