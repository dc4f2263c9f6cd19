"""Plain layers that multiply few rows with a kernel of ours, on processors with matrix tiles."""

import ctypes
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional

from serving.native.build import NoKernels, library

FEW_ROWS = 128
"""From more rows on torch's product (oneDNN) is as fast: computing counts, not reading."""
_INPUTS, _OUTPUTS = 32, 16
"""Of one tile of weights; sizes are multiples of it."""


class TileLinear(nn.Linear):
    """A plain layer. Once ``tiled``, few rows of it are read as fast as memory allows."""

    tiled: bool = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply activations of shape (..., in)."""
        return self.multiply(x, self.weight, self.bias)

    def multiply(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """With these weights, as this layer multiplies with its own."""
        return (multiply if self.tiled else functional.linear)(x, weight, bias)


def use_tiles(model: nn.Module) -> None:
    """Let a model's plain layers multiply few rows by tiles, where the processor has them."""
    if _product() is None:
        return
    for layer in model.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = TileLinear
        if isinstance(layer, TileLinear):
            layer.tiled = True


def multiply(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``x @ weight.T + bias``: few rows in bf16 by tiles, all else by torch.

    Sums are float32, rounded once. With tiles a row's bits do not depend on the other rows.

    Args:
        x: (..., in).
        weight: (out, in), as it lies: there is no second copy.
        bias: (out,), or None.
    """
    rows = x.numel() // weight.shape[1]
    product = _product() if 0 < rows <= FEW_ROWS and not torch.is_grad_enabled() else None
    if product is None or not _takes(x, weight, bias):
        return functional.linear(x, weight, bias)
    x = x.contiguous()
    out = x.new_empty(*x.shape[:-1], len(weight))
    product(
        x.data_ptr(),
        weight.data_ptr(),
        None if bias is None else bias.data_ptr(),
        out.data_ptr(),
        rows,
        weight.shape[1],
        len(weight),
    )
    return out


def _takes(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """Whether the kernel is made for these numbers and sizes."""
    outputs, inputs = weight.shape
    return (
        x.dtype is weight.dtype is torch.bfloat16
        and inputs % _INPUTS == 0
        and outputs % _OUTPUTS == 0
        and weight.is_contiguous()
        and (bias is None or (bias.dtype is torch.bfloat16 and bias.is_contiguous()))
    )


@lru_cache(maxsize=1)
def _product() -> Callable[..., None] | None:
    """The kernel; None where it cannot be had, or this processor does not run it."""
    try:
        compiled = library()
    except NoKernels:  # the engine has said so
        return None
    if not compiled.has_product():
        return None
    function = compiled.product
    function.argtypes = (*(ctypes.c_void_p,) * 4, *(ctypes.c_int64,) * 3)
    function.restype = None
    return function
