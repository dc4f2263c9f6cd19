"""Norms, rotations and activations against torch's."""

import random

import pytest
import torch
from torch.nn import functional

from serving.engine.lean import rotary
from serving.gpu.layer import add_norm, gated, rotate

TYPES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
SIZES = [8, 24, 64, 160]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("adds", [True, False])
def test_add_and_norm(dtype: torch.dtype, adds: bool) -> None:
    rows, size = random.randint(1, 5), random.choice(SIZES)
    hidden, added, weight = (torch.randn(*s).to(dtype) for s in [(rows, size)] * 2 + [(size,)])
    total = hidden.float() + (added.float() if adds else 0)
    want = functional.rms_norm(total, (size,), weight.float(), 1e-5)
    got = add_norm(hidden, added if adds else None, weight, 1e-5)
    close = dict(atol=TYPES[dtype], rtol=TYPES[dtype])
    torch.testing.assert_close(hidden.float(), total, **close)
    torch.testing.assert_close(got.float(), want, **close)


@pytest.mark.parametrize("dtype", TYPES)
def test_rotation(dtype: torch.dtype) -> None:
    rows, count, size = random.randint(1, 5), random.randint(2, 11), random.choice(SIZES)
    turned = random.randint(1, count)
    wide = torch.randn(rows, count + 1, size).to(dtype)
    heads = wide[:, :count]
    angles = torch.randn(1, rows, size // 2).repeat(1, 1, 2)
    cos, sin = rotary(angles.cos().to(dtype), angles.sin().to(dtype))
    want = wide.float().clone()
    low, high = want[:, :turned].chunk(2, dim=-1)
    minus = torch.cat((-high, low), dim=-1)
    own_cos, own_sin = (f.to(dtype).float()[0, :, None] for f in (angles.cos(), angles.sin()))
    want[:, :turned] = want[:, :turned] * own_cos + minus * own_sin
    rotate(heads, turned, cos.contiguous(), sin.contiguous())
    torch.testing.assert_close(wide.float(), want, atol=TYPES[dtype] * 2, rtol=TYPES[dtype])


@pytest.mark.parametrize("dtype", TYPES)
def test_gated(dtype: torch.dtype) -> None:
    rows, size = random.randint(1, 4), random.choice([*SIZES, 1500])
    both = (3 * torch.randn(rows, 2 * size)).to(dtype)
    gate, up = both.float().chunk(2, dim=-1)
    got = gated(both)
    want = functional.silu(gate) * up
    torch.testing.assert_close(got.float(), want, atol=TYPES[dtype] * 2, rtol=TYPES[dtype])
