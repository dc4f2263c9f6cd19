"""What lies between a decoder layer's products, one kernel each, in Triton; sums in fp32."""

import triton
import triton.language as tl


@triton.jit
def add_norm_kernel(
    hidden,
    added,
    weight,
    out,
    epsilon,
    SIZE: tl.constexpr,
    SIZE_PAD: tl.constexpr,
    ADD: tl.constexpr,
):
    """``hidden += added`` for row ``program_id(0)``, and its root mean square norm to ``out``."""
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE_PAD)
    inside = tl.arange(0, SIZE_PAD) < SIZE
    row = tl.load(hidden + at, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        row += tl.load(added + at, mask=inside, other=0.0).to(tl.float32)
        kept = row.to(hidden.dtype.element_ty)
        tl.store(hidden + at, kept, mask=inside)
        row = kept.to(tl.float32)
    mean = tl.sum(row * row, axis=0) / SIZE
    factor = tl.load(weight + tl.arange(0, SIZE_PAD), mask=inside, other=0.0).to(tl.float32)
    normed = row * (1.0 / tl.sqrt(mean + epsilon)) * factor
    tl.store(out + at, normed.to(out.dtype.element_ty), mask=inside)


@triton.jit
def rotate_kernel(
    heads,
    cos,
    sin,
    row_stride,
    count,
    HALF: tl.constexpr,
    HALF_PAD: tl.constexpr,
    TILE: tl.constexpr,
):
    """Turn TILE heads of row ``program_id(0)`` in place; see ``serving.engine.lean.rotary``."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * TILE + tl.arange(0, TILE)
    dims = tl.arange(0, HALF_PAD)
    inside = dims < HALF
    mask = (head < count)[:, None] & inside[None, :]
    low_at = heads + row * row_stride + head[:, None] * 2 * HALF + dims[None, :]
    low = tl.load(low_at, mask=mask, other=0.0).to(tl.float32)
    high = tl.load(low_at + HALF, mask=mask, other=0.0).to(tl.float32)
    angle = row * 2 * HALF + dims
    low_cos = tl.load(cos + angle, mask=inside, other=0.0).to(tl.float32)
    low_sin = tl.load(sin + angle, mask=inside, other=0.0).to(tl.float32)
    high_cos = tl.load(cos + angle + HALF, mask=inside, other=0.0).to(tl.float32)
    high_sin = tl.load(sin + angle + HALF, mask=inside, other=0.0).to(tl.float32)
    kind = heads.dtype.element_ty
    turned = low * low_cos[None, :] + high * low_sin[None, :]
    tl.store(low_at, turned.to(kind), mask=mask)
    turned = high * high_cos[None, :] + low * high_sin[None, :]
    tl.store(low_at + HALF, turned.to(kind), mask=mask)


@triton.jit
def gated_kernel(both, out, SIZE: tl.constexpr, TILE: tl.constexpr):
    """``silu(gate) * up`` of row ``program_id(0)``: gate and up side by side, each SIZE wide."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * TILE + tl.arange(0, TILE)
    inside = at < SIZE
    gate = tl.load(both + row * 2 * SIZE + at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(both + row * 2 * SIZE + SIZE + at, mask=inside, other=0.0).to(tl.float32)
    product = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(out + row * SIZE + at, product.to(out.dtype.element_ty), mask=inside)
