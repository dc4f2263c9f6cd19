"""8-bit weights: one symmetric scale per output row, and the layer that multiplies with them.

``weight = code * scale`` with code in -127..127 and scale = max(abs(row)) / 127, in bf16.
"""

import torch
from torch import nn

_HIGHEST = 127
_IN_MULTIPLE, _OUT_MULTIPLE = 64, 16
"""torch's kernel reads past the end of other shapes."""
_GEMM_ROWS = 12
"""From so many rows of activations on, widening the codes once is cheaper than the kernel."""


def quantize_int8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes int8 of shape (out, in), scales bf16 of shape (out,).

    Codes are chosen for the rounded bf16 scale, as they will be multiplied.
    """
    rows = weight.float()
    scales = (rows.abs().amax(dim=1) / _HIGHEST).bfloat16()
    scales = torch.where(scales == 0, torch.ones_like(scales), scales)
    steps = rows / scales.float()[:, None]
    return steps.round().clamp(-_HIGHEST, _HIGHEST).to(torch.int8), scales


def dequantize_int8(codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The weights that the codes stand for, float32, shape (out, in)."""
    return codes.float() * scales.float()[:, None]


class Int8Linear(nn.Module):
    """``x @ weight.T + bias`` over 8-bit codes with bf16 activations.

    Few rows go through torch's kernel, which reads the codes; more through bf16 multiplication
    with codes made bf16 at each call: they fit exactly, and scales multiply the outputs.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        codes = torch.zeros(out_features, in_features, dtype=torch.int8)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", torch.ones(out_features).bfloat16())
        self._native = not (in_features % _IN_MULTIPLE or out_features % _OUT_MULTIPLE)
        self.bias = nn.Parameter(torch.zeros(out_features).bfloat16()) if bias else None

    def prepare(self) -> None:
        """Nothing to repack: the kernel reads the codes as they lie."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply activations of shape (..., in), bf16."""
        codes, scales = self.get_buffer("codes"), self.get_buffer("scales")
        rows = x.reshape(-1, self.in_features)
        if len(rows) < _GEMM_ROWS and self._native and x.device.type == "cpu":
            out = torch.ops.aten._weight_int8pack_mm(rows, codes, scales)
        else:
            out = nn.functional.linear(rows, codes.to(x.dtype)) * scales.to(x.dtype)
        out = out.reshape(*x.shape[:-1], self.out_features)
        return out if self.bias is None else out + self.bias
