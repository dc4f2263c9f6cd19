"""Copies of 4-bit weights against the weights written out."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from serving.quant import copies
from serving.quant.copies import Int8Copy, exact_sums, make_copy, quantise_rows


def exact(test: Callable[..., None]) -> Callable[..., None]:
    """Tests of 8-bit products need a processor that sums them up right."""
    marked = pytest.mark.skipif(not exact_sums(), reason="8-bit products overflow here")(test)
    return pytest.mark.hardware(marked)


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    out = x.double() @ weight.double().T
    return out if bias is None else out + bias.double()


@pytest.fixture(params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(copies, "_kernels", lambda: None)
    return request.param


@exact
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sizes", [(96, 160), (50, 72)])
@pytest.mark.parametrize("biased", [True, False])
def test_eight_bits_are_near(
    way: str, dtype: torch.dtype, sizes: tuple[int, int], biased: bool
) -> None:
    weight = torch.randn(sizes)
    bias = torch.randn(sizes[0]).to(dtype) if biased else None
    x = torch.randn(9, sizes[1]).to(dtype)
    x[2] = 0
    got, want = Int8Copy(weight, bias)(x), product(x, weight, bias)
    assert got.dtype == dtype
    assert (got.double() - want).norm() < 0.02 * want.norm()
    zero = torch.zeros(sizes[0]) if bias is None else bias
    assert torch.equal(got[2].float(), zero.float())


@exact
def test_sixteen_bits_are_nearer() -> None:
    weight, x = torch.randn(64, 128), torch.randn(5, 128).bfloat16()
    want = product(x, weight, None)
    errors = [(make_copy(b, weight, None)(x).double() - want).norm().item() for b in (8, 16)]
    assert errors[1] < errors[0] < 0.02 * want.norm()


@exact
def test_a_row_has_the_same_bits_in_any_company(way: str) -> None:
    copy, x = Int8Copy(torch.randn(96, 160), None), torch.randn(40, 160).bfloat16()
    whole = copy(x)
    for count in (1, 3, 17):
        rows = torch.randperm(40)[:count]
        assert torch.equal(copy(x[rows]), whole[rows])


@exact
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_shows(way: str, bad: float) -> None:
    x = torch.randn(3, 160)
    x[1, 7] = bad
    out = Int8Copy(torch.randn(96, 160), None)(x)
    assert out[1].isnan().all()
    assert out[[0, 2]].isfinite().all()


def test_rows_are_rounded_to_the_nearest_code() -> None:
    x = torch.randn(20, 64) * torch.rand(20, 1).exp()
    codes, scales = quantise_rows(x)
    error = (codes * scales[:, None] - x).abs()
    assert (error <= 0.501 * scales[:, None]).all()
    assert codes.abs().amax(dim=1).eq(127).all()


OVERFLOWING = """
import torch
from serving.quant.copies import Bf16Copy, exact_sums, make_copy
weight, x = torch.randn(64, 512), torch.randn(70, 512)
copy = make_copy(8, weight, None)
error = (copy(x) - x @ weight.T).norm() / (x @ weight.T).norm()
print(exact_sums(), isinstance(copy, Bf16Copy), copy.bits, error.item() < 0.01)
"""


def test_where_8_bit_products_overflow_a_copy_has_16() -> None:
    """oneDNN told to do without VNNI is what an older processor gives."""
    env = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    said = subprocess.run(
        [sys.executable, "-c", OVERFLOWING], env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["False", "True", "16", "True"]
