"""Group-wise asymmetric rounding to 4 bits, and two codes to the byte.

Each group of ``group_size`` neighbouring inputs of one output row has a scale and a zero:
``weight = (code - 8) * scale + zero`` with code in 0..15, the form that torch's int4
kernels multiply with. Round to nearest; the range of a group spans its smallest and
largest weight, or a share of that range where clipping was searched.
"""

from dataclasses import dataclass

import torch

_LEVELS = 15
_MIDDLE = 8
_CHUNK = 1 << 17
"""Codes dequantised at once: half a megabyte as float32."""


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


def quantize(weight: torch.Tensor, group_size: int, share: torch.Tensor | None = None) -> Packed:
    """Round a weight of shape (out, in); ``in`` is a multiple of ``group_size``.

    Codes are chosen for the rounded bf16 scale and zero, as they will be multiplied.

    Args:
        weight: what to round.
        group_size: inputs per scale.
        share: of each group's range that is kept, (out, in / group); weights beyond become
            the nearest end. By default all of it.
    """
    codes, scales, zeros = _round(weight, group_size, share)
    return Packed(pack(codes.flatten(1)), scales, zeros)


def rounded(
    weight: torch.Tensor, group_size: int, share: torch.Tensor | None = None
) -> torch.Tensor:
    """What ``dequantize(quantize(...))`` gives, without packing in between; float32."""
    codes, scales, zeros = _round(weight, group_size, share)
    return _weights(codes.float(), scales, zeros)


def _round(
    weight: torch.Tensor, group_size: int, share: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes of shape (out, groups, group), scales and zeros of shape (out, groups)."""
    groups = weight.float().unflatten(1, (-1, group_size))
    low, high = groups.aminmax(dim=2)
    if share is not None:
        low, high = low * share, high * share
    scales = ((high - low) / _LEVELS).bfloat16()
    # A group of equal weights has no range: any scale will do, all codes are 8.
    scales = torch.where(scales == 0, torch.ones_like(scales), scales)
    zeros = torch.where(high == low, low.bfloat16(), (low + _MIDDLE * scales.float()).bfloat16())
    steps = (groups - zeros.float()[..., None]) / scales.float()[..., None]
    codes = (steps.round() + _MIDDLE).clamp(0, _LEVELS).to(torch.uint8)
    return codes, scales, zeros


def pack(codes: torch.Tensor) -> torch.Tensor:
    """Codes 0..15 of shape (out, in), uint8, two to the byte."""
    return (codes[:, 0::2] | codes[:, 1::2] << 4).contiguous()


def unpack(codes: torch.Tensor) -> torch.Tensor:
    """Codes 0..15 of shape (out, in), int32, from two to the byte."""
    return torch.stack((codes & 0xF, codes >> 4), dim=2).flatten(1).int()


def dequantize(packed: Packed) -> torch.Tensor:
    """The weights that the codes stand for, float32, shape (out, in)."""
    codes = unpack(packed.codes)
    group_size = codes.shape[1] // packed.scales.shape[1]
    return _weights(codes.float().unflatten(1, (-1, group_size)), packed.scales, packed.zeros)


def _weights(codes: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor) -> torch.Tensor:
    centred = codes - _MIDDLE
    return (centred * scales.float()[..., None] + zeros.float()[..., None]).flatten(1)


def relative_error(weight: torch.Tensor, packed: torch.Tensor) -> float:
    """Frobenius norm of the difference over that of the weight."""
    size = weight.float().norm().item()
    return (packed - weight.float()).norm().item() / size if size else 0.0


def dequantize_halves(packed: Packed, dtype: torch.dtype) -> torch.Tensor:
    """The same weights, (out, in), with the even inputs before the odd ones.

    For multiplying with at once: some rows after the other, so that what is computed on the
    way stays in the processor's cache.
    """
    out_features, half = packed.codes.shape
    groups = packed.scales.shape[1]
    weights = torch.empty(out_features, 2 * half, dtype=dtype, device=packed.codes.device)
    scales, zeros = packed.scales.float()[..., None], packed.zeros.float()[..., None]
    step = max(1, _CHUNK // half) if weights.device.type == "cpu" else out_features
    for start in range(0, out_features, step):
        rows = slice(start, start + step)
        codes = packed.codes[rows]
        for first, nibbles in ((0, codes & 0xF), (half, codes >> 4)):
            centred = (nibbles.float() - _MIDDLE).unflatten(1, (groups, -1))
            centred.mul_(scales[rows]).add_(zeros[rows])
            weights[rows, first : first + half] = centred.flatten(1)
    return weights
