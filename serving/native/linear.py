"""Plain layers that multiply with kernels of ours, on processors with matrix tiles."""

import ctypes
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional

from serving.native.build import NoKernels, library

FEW_ROWS = 192
"""Of more rows computing counts, not reading: turning the weights to tiles pays."""
_INPUTS, _OUTPUTS = 32, 16
"""Of one tile of weights; sizes are multiples of it."""


class TileLinear(nn.Linear):
    """A plain layer. Once ``tiled``, it multiplies by tiles."""

    tiled: bool = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply activations of shape (..., in)."""
        return self.multiply(x, self.weight, self.bias)

    def multiply(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """With these weights, as this layer multiplies with its own."""
        return (multiply if self.tiled else functional.linear)(x, weight, bias)


def has_tiles() -> bool:
    """Whether this processor multiplies by tiles; the first call on a machine compiles."""
    return _products() is not None


def use_tiles(model: nn.Module) -> None:
    """Let a model's plain layers multiply by tiles, where the processor has them."""
    if not has_tiles():
        return
    for layer in model.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = TileLinear
        if isinstance(layer, TileLinear):
            layer.tiled = True


def multiply(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``x @ weight.T + bias``: bf16 by tiles, all else by torch.

    Sums are float32, rounded once. With tiles a row's bits do not depend on the other rows.

    Args:
        x: (..., in).
        weight: (out, in), as it lies: there is no second copy.
        bias: (out,), or None.
    """
    rows = x.numel() // weight.shape[1]
    products = _products() if rows and not torch.is_grad_enabled() else None
    if products is None or not _takes(x, weight, bias):
        return functional.linear(x, weight, bias)
    x = x.contiguous()
    out = x.new_empty(*x.shape[:-1], len(weight))
    products[rows > FEW_ROWS](
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
def _products() -> tuple[Callable[..., None], Callable[..., None]] | None:
    """The kernels for few rows and for many, where they can be had and the processor runs them."""
    try:
        compiled = library()
    except NoKernels:  # the engine has said so
        return None
    if not compiled.has_product():
        return None
    for function in (compiled.product, compiled.many):
        function.argtypes = (*(ctypes.c_void_p,) * 4, *(ctypes.c_int64,) * 3)
        function.restype = None
    return compiled.product, compiled.many
