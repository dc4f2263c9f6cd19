"""The ways a 4-bit layer multiplies, against the weights written out."""

import random

import pytest
import torch

from serving.quant.linear import Int4Linear
from serving.quant.rounding import dequantize, dequantize_halves, quantize


@pytest.mark.parametrize("group_size", [32, 64, 128])
def test_halves_are_the_weights_in_another_order(group_size: int) -> None:
    outputs = random.choice([1, 48, 300, 1030])
    packed = quantize(torch.randn(outputs, 384), group_size)
    whole = dequantize(packed)
    for dtype in (torch.float32, torch.bfloat16):
        halves = dequantize_halves(packed, dtype)
        assert torch.equal(halves, torch.cat((whole[:, 0::2], whole[:, 1::2]), dim=1).to(dtype))


@pytest.mark.parametrize("bias", [True, False])
def test_many_rows_multiply_as_the_weights_do(bias: bool) -> None:
    packed = quantize(torch.randn(80, 256), 64)
    layer = Int4Linear(256, 80, 64, bias=bias)
    layer.load_state_dict(
        {"codes": packed.codes, "scales": packed.scales, "zeros": packed.zeros}, strict=False
    )
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    layer.prepare()
    x = torch.randn(2, 50, 256).bfloat16()
    with torch.inference_mode():
        plain = x.float() @ dequantize(packed).T
        plain = plain if layer.bias is None else plain + layer.bias.float()
        unpacked = layer(x)
        layer.keep_dense(1)
        copied = layer(x)
        layer.release()
        released = layer(x[0, :3])
    for got, want in ((unpacked, plain), (copied, plain), (released, plain[0, :3])):
        assert got.dtype == torch.bfloat16
        # Rounding to 8 bits moves single outputs by up to 0.012 of the largest.
        assert (got.float() - want).abs().max() < 0.05 * want.abs().max()
