"""Products with 4-bit weights against weights written out."""

import random

import pytest
import torch

from serving.gpu import int4
from serving.gpu.int4 import int4_linear, widen
from serving.quant.rounding import Packed, dequantize, quantize


def case(group: int) -> tuple[Packed, torch.Tensor, torch.Tensor]:
    """Packed weights, the numbers they stand for, and a bias."""
    rng = random.Random()
    torch.manual_seed(rng.getrandbits(32))
    outs, groups = rng.choice([1, 5, 32, 50]), rng.choice([1, 3, 5, 9])
    weight = torch.randn(outs, groups * group) * torch.rand(outs, 1) + 0.1 * torch.randn(1)
    packed = quantize(weight, group)
    return packed, dequantize(packed), torch.randn(outs).bfloat16()


def compare(x: torch.Tensor, packed: Packed, weight: torch.Tensor, bias: object) -> None:
    got = int4_linear(x, packed, bias)  # type: ignore[arg-type]
    want = x.float() @ weight.T + (0 if bias is None else bias.float())  # type: ignore
    assert got.dtype == x.dtype
    size = (x.float().abs() @ weight.abs().T).max()
    if bias is not None:
        size += bias.float().abs().max()  # type: ignore
    bound = 1e-4 if x.dtype == torch.float32 else 8e-3
    assert (got.float() - want).abs().max() <= bound * size


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("rows", [1, 2, 7, 16, 40, 127, 130])
def test_every_kernel(group: int, rows: int) -> None:
    packed, weight, bias = case(group)
    inputs = weight.shape[1]
    compare(torch.randn(rows, inputs).bfloat16(), packed, weight, bias)
    compare(torch.randn(rows, inputs) + 1, packed, weight, None)


def test_shares_of_the_groups_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, weight, bias = case(32)
    most = weight.shape[1] // 32
    for splits in (1, 2, 4, 8):
        if splits <= most:
            monkeypatch.setattr(int4, "_splits", lambda *_, splits=splits: splits)
            compare(torch.randn(5, weight.shape[1]), packed, weight, bias)


@pytest.mark.parametrize("group", [32, 128])
def test_weights_are_widened(group: int) -> None:
    packed, weight, _ = case(group)
    torch.testing.assert_close(widen(packed, torch.float32), weight, rtol=1e-6, atol=1e-6)
    # The interpreter cuts bits off where a GPU rounds to nearest: 2**-7. Another code is 2**-4.
    torch.testing.assert_close(widen(packed, torch.bfloat16).float(), weight, rtol=2**-6, atol=1e-6)


def test_rows_wider_than_a_tile() -> None:
    torch.manual_seed(random.getrandbits(32))
    weight = torch.randn(3, 1280)
    packed = quantize(weight, 64)
    compare(torch.randn(1, 1280), packed, dequantize(packed), None)
    got = widen(packed, torch.float32)
    torch.testing.assert_close(got, dequantize(packed), rtol=1e-6, atol=1e-6)
