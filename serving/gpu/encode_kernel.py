"""Rounds keys and values to 8 bits as they are stored, in Triton; see ``serving.engine.cache``."""

import triton
import triton.language as tl


@triton.jit
def encode_kernel(
    fresh,
    places,
    codes,
    scales,
    zeros,
    token_stride,
    kind_stride,
    head_stride,
    kv_heads,
    SIZE: tl.constexpr,
    SIZE_PAD: tl.constexpr,
):
    """One vector of token ``program_id(0)``: its key or value of a head, by ``program_id(1)``."""
    token, vector = tl.program_id(0).to(tl.int64), tl.program_id(1)
    dims = tl.arange(0, SIZE_PAD)
    inside = dims < SIZE
    at = token * token_stride + vector // kv_heads * kind_stride + vector % kv_heads * head_stride
    x = tl.load(fresh + at + dims, mask=inside, other=0.0).to(tl.float32)
    low = tl.min(tl.where(inside, x, float("inf")), axis=0)
    high = tl.max(tl.where(inside, x, float("-inf")), axis=0)
    scale = (high - low) / 255.0
    step = (x - low) / tl.where(scale == 0.0, 1.0, scale)
    near = tl.floor(step + 0.5)
    odd = near - 2.0 * tl.floor(near * 0.5)
    near = tl.where(near - step == 0.5, near - odd, near)  # halves to even, as torch rounds
    code = tl.minimum(tl.maximum(near, 0.0), 255.0) - 128.0
    to = tl.load(places + token).to(tl.int64) * 2 * kv_heads + vector
    tl.store(codes + to * SIZE + dims, code.to(tl.int8), mask=inside)
    tl.store(scales + to, scale)
    tl.store(zeros + to, low + 128.0 * scale)
