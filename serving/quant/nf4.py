"""NF4 weights (Dettmers et al. 2023, arXiv:2305.14314) through bitsandbytes.

Each block of neighbouring inputs is divided by its largest magnitude and rounded to one of 16
values, quantiles of a normal distribution.
"""

import torch
from torch import nn


def quantize_nf4(weight: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes uint8 of shape (out, in / 2), the earlier input in the high nibble; and the largest
    magnitude of each block, float32, shape (out, in / block).
    """
    from bitsandbytes.functional import quantize_4bit

    out, inputs = weight.shape
    codes, state = quantize_4bit(
        weight.float().contiguous(), blocksize=block, quant_type="nf4", compress_statistics=False
    )
    return codes.reshape(out, inputs // 2), state.absmax.float().reshape(out, inputs // block)


def dequantize_nf4(
    codes: torch.Tensor, largest: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """The weights that the codes stand for, shape (out, in)."""
    from bitsandbytes.functional import QuantState, dequantize_4bit, get_4bit_type

    out, half = codes.shape
    state = QuantState(
        absmax=largest.flatten(),
        shape=torch.Size((out, 2 * half)),
        dtype=dtype,
        code=get_4bit_type("nf4", device=codes.device),
        blocksize=2 * half // largest.shape[1],
        quant_type="nf4",
    )
    return dequantize_4bit(codes.reshape(-1, 1), state)


class Nf4Linear(nn.Module):
    """``x @ weight.T + bias`` over NF4 codes, dequantised by bitsandbytes at each call."""

    def __init__(self, in_features: int, out_features: int, block: int, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        codes = torch.zeros(out_features, in_features // 2, dtype=torch.uint8)
        self.register_buffer("codes", codes)
        self.register_buffer("largest", torch.zeros(out_features, in_features // block))
        self.bias = nn.Parameter(torch.zeros(out_features).bfloat16()) if bias else None

    def prepare(self) -> None:
        """Nothing to repack."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply activations of shape (..., in)."""
        weight = dequantize_nf4(self.get_buffer("codes"), self.get_buffer("largest"), x.dtype)
        return nn.functional.linear(x, weight, self.bias)
