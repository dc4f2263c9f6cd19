"""Group-wise asymmetric rounding to 4 bits, and two codes to the byte.

Each group of ``group_size`` neighbouring inputs of one output row has a scale and a zero:
``weight = (code - 8) * scale + zero`` with code in 0..15, the form that torch's int4
kernels multiply with. Round to nearest; the range of a group spans its smallest and
largest weight.
"""

from dataclasses import dataclass

import torch

_LEVELS = 15
_MIDDLE = 8


@dataclass(frozen=True)
class Packed:
    """One linear layer's weights in 4 bits."""

    codes: torch.Tensor
    """uint8, shape (out, in / 2): even inputs in the low nibble."""
    scales: torch.Tensor
    """bf16, shape (out, in / group)."""
    zeros: torch.Tensor
    """bf16, shape (out, in / group): the weight of code 8."""

    @property
    def nbytes(self) -> int:
        """Bytes of all three."""
        return sum(t.numel() * t.element_size() for t in (self.codes, self.scales, self.zeros))


def quantize(weight: torch.Tensor, group_size: int) -> Packed:
    """Round a weight of shape (out, in); ``in`` is a multiple of ``group_size``.

    Codes are chosen for the rounded bf16 scale and zero, as they will be multiplied.
    """
    groups = weight.float().unflatten(1, (-1, group_size))
    low, high = groups.aminmax(dim=2)
    scales = ((high - low) / _LEVELS).bfloat16()
    # A group of equal weights has no range: any scale will do, all codes are 8.
    scales = torch.where(scales == 0, torch.ones_like(scales), scales)
    zeros = torch.where(high == low, low.bfloat16(), (low + _MIDDLE * scales.float()).bfloat16())
    steps = (groups - zeros.float()[..., None]) / scales.float()[..., None]
    codes = (steps.round() + _MIDDLE).clamp(0, _LEVELS).to(torch.uint8).flatten(1)
    return Packed((codes[:, 0::2] | codes[:, 1::2] << 4).contiguous(), scales, zeros)


def unpack(codes: torch.Tensor) -> torch.Tensor:
    """Codes 0..15 of shape (out, in), int32, from two to the byte."""
    return torch.stack((codes & 0xF, codes >> 4), dim=2).flatten(1).int()


def dequantize(packed: Packed) -> torch.Tensor:
    """The weights that the codes stand for, float32, shape (out, in)."""
    codes = unpack(packed.codes)
    group_size = codes.shape[1] // packed.scales.shape[1]
    centred = (codes - _MIDDLE).float().unflatten(1, (-1, group_size))
    scaled = centred * packed.scales.float()[..., None] + packed.zeros.float()[..., None]
    return scaled.flatten(1)
