"""Copies of 4-bit weights for steps of many rows, where unpacking costs more than reading."""

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
        sums = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, 0, self._weight, self._scales, self._zeros, None, 1.0, 0, torch.float32,
            "none", [], "",
        )  # fmt: skip
        if compiled is not None:
            return compiled.rescale(sums, scales, self._bias, x.dtype)
        out = sums.mul_(scales[:, None])
        return (out if self._bias is None else out.add_(self._bias)).to(x.dtype)


def make_copy(bits: CopyBits, weight: torch.Tensor, bias: torch.Tensor | None) -> Copy:
    """A copy of weights given in float32, (out, in)."""
    return Int8Copy(weight, bias) if bits == 8 else Bf16Copy(weight, bias)


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
