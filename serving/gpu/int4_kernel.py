"""Products with 4-bit weights as ``serving.quant.rounding`` packs them, in Triton.

``weight = (code - 8) * scale + zero`` per group of inputs, even inputs in the low half of a byte.
Over a group ``x . weight = scale * (x . (code - 8)) + zero * sum(x)``: scale and zero come after
the product, in fp32. Integers are not converted to floats, which a GPU does at a fraction of its
rate: a code is put into the last bits of a float whose exponent makes them count ones, and that
float's own value is taken off again (Kim et al. 2022, arXiv 2211.10017).

Triton's interpreter computes with bf16 only after a change to fp32 (``DOT``).
"""

import triton
import triton.language as tl

_BIG: tl.constexpr = tl.constexpr(8388608.0)
"""2^23: the last bit of an fp32 of this size counts 1."""
_BIG_BITS: tl.constexpr = tl.constexpr(0x4B000000)
_SMALL_BITS: tl.constexpr = tl.constexpr(0x4300)
"""128 in bf16, whose last bit counts 1 as well."""
_SMALL_MIDDLE: tl.constexpr = tl.constexpr(136.0)
"""128 + 8."""


@triton.jit
def row_kernel(
    x,
    codes,
    scales,
    zeros,
    bias,
    out,
    outs,
    HALF: tl.constexpr,
    GROUP: tl.constexpr,
    OUTS: tl.constexpr,
    TILE: tl.constexpr,
    BIAS: tl.constexpr,
):
    """One row of activations (2 * HALF,) times OUTS weight rows, by multiply and add.

    A program reads whole rows of codes, TILE bytes of each at once.
    """
    GROUPS: tl.constexpr = 2 * HALF // GROUP
    IN_TILE: tl.constexpr = 2 * TILE // GROUP
    row = tl.program_id(1).to(tl.int64)
    n = tl.program_id(0) * OUTS + tl.arange(0, OUTS)
    there = n < outs
    line = n.to(tl.int64)[:, None]
    sums = tl.zeros((OUTS, IN_TILE), tl.float32)
    for start in range(0, HALF, TILE):
        byte = start + tl.arange(0, TILE)
        inside = byte < HALF
        both = start * 2 + tl.arange(0, 2 * TILE)
        pair = tl.load(x + row * 2 * HALF + both, mask=both < 2 * HALF, other=0.0).to(tl.float32)
        even, odd = tl.split(tl.reshape(pair, (TILE, 2)))
        odd = odd * 0.0625  # the high half of a byte counts 16 times its code
        mask = there[:, None] & inside[None, :]
        code = tl.load(codes + line * HALF + byte[None, :], mask=mask, other=0).to(tl.int32)
        low = ((code & 0xF) | _BIG_BITS).to(tl.float32, bitcast=True) - (_BIG + 8.0)
        high = ((code & 0xF0) | _BIG_BITS).to(tl.float32, bitcast=True) - (_BIG + 128.0)
        product = low * even[None, :] + high * odd[None, :]
        product = tl.sum(tl.reshape(product, (OUTS, IN_TILE, GROUP // 2)), axis=2)
        total = tl.sum(tl.reshape(even + odd * 16.0, (IN_TILE, GROUP // 2)), axis=1)
        group = start * 2 // GROUP + tl.arange(0, IN_TILE)
        known = there[:, None] & (group < GROUPS)[None, :]
        scale = tl.load(scales + line * GROUPS + group[None, :], mask=known, other=0.0)
        zero = tl.load(zeros + line * GROUPS + group[None, :], mask=known, other=0.0)
        sums += product * scale.to(tl.float32) + total[None, :] * zero.to(tl.float32)
    result = tl.sum(sums, axis=1)
    if BIAS:
        result += tl.load(bias + n, mask=there, other=0.0).to(tl.float32)
    tl.store(out + row * outs + n, result.to(out.dtype.element_ty), mask=there)


@triton.jit
def rows_kernel(
    x,
    codes,
    scales,
    zeros,
    parts,
    rows,
    outs,
    HALF: tl.constexpr,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    OUTS: tl.constexpr,
    SPLITS: tl.constexpr,
    DOT: tl.constexpr,
):
    """ROWS rows of activations times OUTS weight rows, by matrix products of a group each.

    Program (i, j, k) takes outputs i, rows j and the k-th of SPLITS shares of the groups, and
    writes its sum to ``parts`` (SPLITS, rows, outs).
    """
    GROUPS: tl.constexpr = 2 * HALF // GROUP
    SHARE: tl.constexpr = (GROUPS + SPLITS - 1) // SPLITS
    split = tl.program_id(2)
    n = tl.program_id(0) * OUTS + tl.arange(0, OUTS)
    m = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    in_n, in_m = n < outs, m < rows
    line, row = n.to(tl.int64), m.to(tl.int64)
    sums = tl.zeros((ROWS, OUTS), tl.float32)
    for group in range(split * SHARE, tl.minimum((split + 1) * SHARE, GROUPS)):
        byte = group * (GROUP // 2) + tl.arange(0, GROUP // 2)
        at = x + row[:, None] * 2 * HALF + byte[None, :] * 2
        even = tl.load(at, mask=in_m[:, None], other=0.0).to(DOT)
        odd = tl.load(at + 1, mask=in_m[:, None], other=0.0).to(DOT)
        code_at = codes + line[:, None] * HALF + byte[None, :]
        code = tl.load(code_at, mask=in_n[:, None], other=0).to(tl.int16)
        low = ((code & 0xF) | _SMALL_BITS).to(tl.int16).to(tl.bfloat16, bitcast=True).to(DOT)
        high = ((code >> 4 & 0xF) | _SMALL_BITS).to(tl.int16).to(tl.bfloat16, bitcast=True).to(DOT)
        product = tl.dot(even, tl.trans(low), input_precision="ieee")
        product = tl.dot(odd, tl.trans(high), product, input_precision="ieee")
        total = tl.sum(even.to(tl.float32), axis=1) + tl.sum(odd.to(tl.float32), axis=1)
        scale = tl.load(scales + line * GROUPS + group, mask=in_n, other=0.0).to(tl.float32)
        zero = tl.load(zeros + line * GROUPS + group, mask=in_n, other=0.0).to(tl.float32)
        product = product - total[:, None] * _SMALL_MIDDLE
        sums += product * scale[None, :] + total[:, None] * zero[None, :]
    at = parts + (split * rows + row[:, None]) * outs + line[None, :]
    tl.store(at, sums, mask=in_m[:, None] & in_n[None, :])


@triton.jit
def widen_kernel(
    codes,
    scales,
    zeros,
    out,
    outs,
    HALF: tl.constexpr,
    GROUP: tl.constexpr,
    OUTS: tl.constexpr,
    TILE: tl.constexpr,
):
    """Weights (outs, 2 * HALF) from their codes, OUTS rows and TILE bytes of each a program."""
    GROUPS: tl.constexpr = 2 * HALF // GROUP
    n = tl.program_id(0) * OUTS + tl.arange(0, OUTS)
    byte = tl.program_id(1) * TILE + tl.arange(0, TILE)
    there, inside = n < outs, byte < HALF
    line = n.to(tl.int64)[:, None]
    mask = there[:, None] & inside[None, :]
    code = tl.load(codes + line * HALF + byte[None, :], mask=mask, other=0).to(tl.int32)
    group_at = line * GROUPS + (byte * 2 // GROUP)[None, :]
    scale = tl.load(scales + group_at, mask=mask, other=0.0).to(tl.float32)
    zero = tl.load(zeros + group_at, mask=mask, other=0.0).to(tl.float32)
    low = ((code & 0xF) - 8).to(tl.float32) * scale + zero
    high = ((code >> 4) - 8).to(tl.float32) * scale + zero
    both = tl.program_id(1) * TILE * 2 + tl.arange(0, 2 * TILE)
    mask = there[:, None] & (both < 2 * HALF)[None, :]
    weights = tl.interleave(low, high).to(out.dtype.element_ty)
    tl.store(out + line * 2 * HALF + both[None, :], weights, mask=mask)
