"""Unpacks the tensors of GPTQ and AWQ checkpoints: eight 4-bit numbers to an int32.

GPTQ (Frantar et al. 2022, arXiv:2210.17323, as AutoGPTQ writes it): eight neighbouring inputs
to the word, the first in the lowest bits; zero points eight neighbouring outputs to the word.
AWQ ``gemm`` (Lin et al. 2023, arXiv:2306.00978, as AutoAWQ writes it): eight neighbouring
outputs to the word in the order 0 2 4 6 1 3 5 7, zero points alike.
In both ``weight = (code - zero point) * scale``.
"""

from dataclasses import dataclass

import torch

_PER_WORD = 8
_PLACE_OF_OUTPUT = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where AWQ puts each of eight outputs: the inverse of its order."""


@dataclass(frozen=True)
class Unpacked:
    """Exactly what a checkpoint says of one linear layer."""

    codes: torch.Tensor
    """0..15, uint8, (out, in)."""
    points: torch.Tensor
    """Zero points, int32, (out, groups)."""
    scales: torch.Tensor
    """As stored, (out, groups)."""


def unpack_gptq(
    qweight: torch.Tensor, qzeros: torch.Tensor, scales: torch.Tensor, zero_offset: int
) -> Unpacked:
    """See above.

    Args:
        qweight: int32, (in / 8, out).
        qzeros: int32, (groups, out / 8).
        scales: (groups, out).
        zero_offset: added to stored zero points.
    """
    codes = _words(qweight).permute(0, 2, 1).flatten(0, 1)
    points = _words(qzeros).flatten(1) + zero_offset
    return Unpacked(codes.T.to(torch.uint8).contiguous(), points.T, scales.T)


def unpack_awq(qweight: torch.Tensor, qzeros: torch.Tensor, scales: torch.Tensor) -> Unpacked:
    """See above.

    Args:
        qweight: int32, (in, out / 8).
        qzeros: int32, (groups, out / 8).
        scales: (groups, out).
    """
    places = list(_PLACE_OF_OUTPUT)
    codes = _words(qweight)[..., places].flatten(1)
    points = _words(qzeros)[..., places].flatten(1)
    return Unpacked(codes.T.to(torch.uint8).contiguous(), points.T, scales.T)


def _words(packed: torch.Tensor) -> torch.Tensor:
    """The eight numbers of each word, lowest bits first, in a new last dimension; int32."""
    shifts = torch.arange(0, 4 * _PER_WORD, 4, dtype=torch.int32)
    return (packed[..., None] >> shifts) & 0xF
