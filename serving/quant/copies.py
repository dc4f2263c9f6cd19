"""Copies of 4-bit weights for steps of many rows, where unpacking costs more than reading."""

from functools import lru_cache
from typing import Literal, Protocol

import torch

from serving.native.build import NoKernels
from serving.native.kernels import Kernels, kernels, takes
from serving.native.linear import multiply
from serving.quant.int8 import quantize_int8

CopyBits = Literal[8, 16]
_HIGHEST = 127


class Copy(Protocol):
    """Multiplies activations of shape (rows, in) with a copy of some weights."""

    bits: CopyBits

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps."""
        ...

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias``."""
        ...


class Bf16Copy:
    """The weights in bf16: no other rounding than that of the 4 bits shows."""

    bits: CopyBits = 16

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight, self._bias = weight.bfloat16(), bias

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps."""
        return self._weight.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias``."""
        return multiply(x, self._weight.to(x.dtype), self._bias)


class Int8Copy:
    """The weights in 8 bits, one scale per output, times activations in 8 bits, one scale per row.

    Sums of products are integers, so a row's result is the same in any company. Twice as fast
    as bf16 on processors with 8-bit products (VNNI, AMX) and half its memory; scales per row as
    in LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339), without its way around outliers.
    Right only where ``exact_sums``.
    """

    bits: CopyBits = 8

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        codes, scales = quantize_int8(weight)
        self._weight = torch.ops.onednn.qlinear_prepack(codes, None)
        self._scales = scales.float()
        self._zeros = torch.zeros(len(codes), dtype=torch.int64)
        self._bias = bias
        self._kernels = _kernels() if takes(weight, *weight.shape) else None
        self._codes = codes.numel()

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps."""
        return self._codes + self._scales.nbytes + self._zeros.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias``, activations rounded row by row."""
        compiled = self._kernels if takes(x) else None
        x = x.contiguous()
        codes, scales = quantise_rows(x) if compiled is None else compiled.quantise(x)
        sums = _product(codes, self._weight, self._scales, self._zeros)
        if compiled is not None:
            return compiled.rescale(sums, scales, self._bias, x.dtype)
        out = sums.mul_(scales[:, None])
        return (out if self._bias is None else out.add_(self._bias)).to(x.dtype)


def make_copy(bits: CopyBits, weight: torch.Tensor, bias: torch.Tensor | None) -> Copy:
    """A copy of weights given in float32, (out, in); of 16 bits where 8 would be wrong."""
    return Int8Copy(weight, bias) if bits == 8 and exact_sums() else Bf16Copy(weight, bias)


@lru_cache(maxsize=1)
def exact_sums() -> bool:
    """Whether 8-bit products are summed up exactly here.

    Without VNNI oneDNN adds pairs of them in 16 bits, which overflow ("Nuances of int8
    Computations", oneDNN Developer Guide). A product tells, whatever the reason.
    """
    codes = torch.full((64, 128), _HIGHEST, dtype=torch.int8)
    weight = torch.ops.onednn.qlinear_prepack(codes, None)
    zeros, ones = torch.zeros(64, dtype=torch.int64), torch.ones(64)
    return all(
        bool(_product(rows, weight, ones, zeros).abs().eq(_HIGHEST**2 * 128).all())
        for rows in (codes[:1], codes, -codes)
    )


def _product(
    codes: torch.Tensor, weight: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor
) -> torch.Tensor:
    """Codes (rows, in) times packed codes (out, in), times a scale for every output, float32."""
    return torch.ops.onednn.qlinear_pointwise(
        codes, 1.0, 0, weight, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )


def quantise_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What ``Kernels.quantise`` gives, by torch's operations."""
    numbers = x.float()
    scales = numbers.abs().amax(dim=1) / _HIGHEST
    safe = torch.where(scales > 0, scales, torch.ones_like(scales))
    return (numbers / safe[:, None]).round_().to(torch.int8), scales


def _kernels() -> Kernels | None:
    try:
        return kernels()
    except NoKernels:  # the engine has said so
        return None
