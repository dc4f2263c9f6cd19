"""The linear layer over 4-bit weights."""

import torch
from torch import nn

from serving.quant.rounding import Packed, dequantize, unpack

_ROW_MULTIPLE = 16
"""torch's CPU kernel packs output rows in blocks of 16."""


class Int4Linear(nn.Module):
    """``x @ weight.T + bias`` with packed weights and bf16 activations.

    Uses torch's CPU kernel where the shape allows it, else dequantises at each call.
    """

    def __init__(self, in_features: int, out_features: int, group_size: int, bias: bool) -> None:
        super().__init__()
        groups = in_features // group_size
        self.in_features, self.out_features = in_features, out_features
        self.group_size = group_size
        self.register_buffer("codes", torch.zeros(out_features, in_features // 2).to(torch.uint8))
        self.register_buffer("scales", torch.zeros(out_features, groups).bfloat16())
        self.register_buffer("zeros", torch.zeros(out_features, groups).bfloat16())
        self.bias = nn.Parameter(torch.zeros(out_features).bfloat16()) if bias else None
        self._kernel: tuple[torch.Tensor, torch.Tensor] | None = None

    def prepare(self) -> None:
        """Repack for the kernel, once the codes are loaded."""
        if self.out_features % _ROW_MULTIPLE:
            return
        packed = self._packed()
        weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(unpack(packed.codes), 1)
        # (in / group, out, 2) of scale and zero.
        pairs = torch.stack((packed.scales, packed.zeros), dim=2).transpose(0, 1).contiguous()
        self._kernel = (weight, pairs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply activations of shape (..., in), bf16."""
        if self._kernel is None:
            return nn.functional.linear(x, dequantize(self._packed()).to(x.dtype), self.bias)
        rows = x.reshape(-1, self.in_features)
        weight, pairs = self._kernel
        out = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, weight, self.group_size, pairs)
        out = out.reshape(*x.shape[:-1], self.out_features)
        return out if self.bias is None else out + self.bias

    def _packed(self) -> Packed:
        return Packed(self.get_buffer("codes"), self.get_buffer("scales"), self.get_buffer("zeros"))
