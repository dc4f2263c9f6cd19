"""Every kernel against the sum it stands for, in double precision."""

import random

import pytest
import torch
from torch.nn import functional

from serving.native.kernels import Kernels, kernels

TYPES = [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)]


@pytest.fixture(scope="module")
def compiled(needs_compiler: None) -> Kernels:
    return kernels()


def close(got: torch.Tensor, want: torch.Tensor, tolerance: float) -> bool:
    return bool(((got.double() - want).abs() <= tolerance * (1 + want.abs())).all())


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("added", [True, False])
def test_add_norm(compiled: Kernels, dtype: torch.dtype, tolerance: float, added: bool) -> None:
    rows, size = random.choice([1, 3, 70]), 16 * random.randint(1, 40)
    hidden, weight = torch.randn(rows, size).to(dtype), torch.randn(size).to(dtype)
    more = torch.randn(rows, size).to(dtype) if added else None
    want = hidden.clone() if more is None else hidden + more
    got = compiled.add_norm(hidden, more, weight, 1e-5)
    assert torch.equal(hidden, want)
    sums = want.double()
    norm = sums / (sums.square().mean(dim=1, keepdim=True) + 1e-5).sqrt() * weight.double()
    assert close(got, norm, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
def test_rotate(compiled: Kernels, dtype: torch.dtype, tolerance: float) -> None:
    rows, heads, size = random.choice([1, 5, 60]), random.randint(2, 9), 32 * random.randint(1, 4)
    turned = random.randint(1, heads)
    before = torch.randn(rows, heads, size).to(dtype)
    cos, sin = torch.randn(2, rows, 1, size).to(dtype)
    after = before.clone()
    compiled.rotate(after, turned, cos, sin)
    assert torch.equal(after[:, turned:], before[:, turned:])
    own = before[:, :turned].double()
    want = own * cos.double() + own.roll(size // 2, -1) * sin.double()
    assert close(after[:, :turned], want, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
def test_swiglu(compiled: Kernels, dtype: torch.dtype, tolerance: float) -> None:
    rows, size = random.choice([1, 5, 60]), 16 * random.randint(1, 30)
    both = (torch.randn(rows, 2 * size) * random.choice([1, 10, 100])).to(dtype)
    gate, up = both.double().chunk(2, dim=1)
    assert close(compiled.swiglu(both), functional.silu(gate) * up, tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_likeliest(compiled: Kernels, dtype: torch.dtype) -> None:
    rows, size = random.choice([1, 5, 40]), random.choice([1, 7, 16, random.randint(17, 5000)])
    logits = (torch.randn(rows, size) * random.choice([0.1, 3, 40])).to(dtype)
    logits[0, random.randrange(size)] = logits[0].max()
    logits[-1, 1:] = -torch.inf
    tokens, norms = compiled.likeliest(logits)
    assert tokens.tolist() == [row.index(max(row)) for row in logits.tolist()]
    assert close(norms, logits.double().logsumexp(dim=1), 3e-6)
    assert torch.equal(compiled.likeliest(logits[-1:])[1], norms[-1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_norm_of_what_is_no_distribution(compiled: Kernels, dtype: torch.dtype) -> None:
    logits = torch.randn(4, random.randint(1, 100)).to(dtype)
    place = random.randrange(logits.shape[1])
    logits[0, place], logits[1, place], logits[2] = torch.nan, torch.inf, -torch.inf
    tokens, norms = compiled.likeliest(logits)
    assert norms.isnan().tolist() == [True, True, True, False]
    assert ((tokens >= 0) & (tokens < logits.shape[1])).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_codes_are_the_nearest(compiled: Kernels, dtype: torch.dtype) -> None:
    x = (torch.randn(40, 16 * random.randint(1, 30)) * torch.rand(40, 1).exp()).to(dtype)
    x[3] = 0
    codes, scales = compiled.quantise(x)
    assert torch.allclose(scales.double(), x.double().abs().amax(dim=1) / 127, rtol=1e-6)
    assert codes.abs().max() == 127
    error = (codes.double() * scales.double()[:, None] - x.double()).abs()
    assert (error <= 0.5001 * scales.double()[:, None]).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_shows(compiled: Kernels, bad: float) -> None:
    x = torch.randn(3, 48)
    x[1, random.randrange(48)] = bad
    _, scales = compiled.quantise(x)
    assert scales.isfinite().tolist() == [True, False, True]
    norm = compiled.add_norm(x.clone(), None, torch.ones(48), 1e-5)
    assert norm[1].isnan().any()
    assert norm[[0, 2]].isfinite().all()
    half = x.bfloat16()
    compiled.add_norm(half, torch.zeros_like(half), torch.ones(48).bfloat16(), 1e-5)
    assert torch.equal(half.isfinite(), x.isfinite())


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("biased", [True, False])
def test_rescale(compiled: Kernels, dtype: torch.dtype, tolerance: float, biased: bool) -> None:
    rows, size = random.choice([1, 30]), 16 * random.randint(1, 80)
    x, scales = torch.randn(rows, size), torch.rand(rows)
    bias = torch.randn(size).to(dtype) if biased else None
    want = x.double() * scales.double()[:, None] + (0 if bias is None else bias.double())
    assert close(compiled.rescale(x, scales, bias, dtype), want, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("size", [16, 64, 96, 128, 256])
def test_decode(compiled: Kernels, dtype: torch.dtype, tolerance: float, size: int) -> None:
    kv_heads, group = random.randint(1, 3), random.choice([1, 2, 4, 7])
    rows, block, blocks = random.choice([1, 9]), random.choice([4, 16, 32]), 30
    heads = kv_heads * group
    pages = torch.randn(blocks * block, 2, kv_heads, size).to(dtype)
    queries = torch.randn(rows, heads + 2 * kv_heads, size).to(dtype)[:, :heads]
    tables = torch.stack([torch.randperm(blocks)[:9] for _ in range(rows)])
    lengths = torch.randint(1, 9 * block + 1, (rows,))
    got = compiled.decode(queries, pages, tables, lengths, block, 0.3)
    for row, length in enumerate(lengths.tolist()):
        places = (tables[row][:, None] * block + torch.arange(block)).flatten()[:length]
        keys, values = pages[places].double().permute(1, 2, 0, 3)
        keys, values = (x.repeat_interleave(group, dim=0) for x in (keys, values))
        scores = (queries[row].double()[:, None] @ keys.mT)[:, 0] * 0.3
        want = (scores.softmax(dim=-1)[:, None] @ values)[:, 0]
        assert close(got[row], want, tolerance)


def test_a_row_has_the_same_bits_in_any_company(compiled: Kernels) -> None:
    x, weight = torch.randn(50, 512).bfloat16(), torch.randn(512).bfloat16()
    pages = torch.randn(64 * 8, 2, 2, 64).bfloat16()
    queries = torch.randn(50, 6, 64).bfloat16()
    tables, lengths = torch.randint(0, 64, (50, 8)), torch.randint(1, 65, (50,))
    norm = compiled.add_norm(x.clone(), None, weight, 1e-5)
    seen = compiled.decode(queries, pages, tables, lengths, 8, 0.1)
    for count in (1, 2, 17):
        some = torch.randperm(50)[:count]
        assert torch.equal(compiled.add_norm(x[some], None, weight, 1e-5), norm[some])
        alone = compiled.decode(queries[some], pages, tables[some], lengths[some], 8, 0.1)
        assert torch.equal(alone, seen[some])
