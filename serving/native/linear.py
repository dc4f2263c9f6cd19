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

    def gated(self, x: torch.Tensor) -> torch.Tensor | None:
        """``silu(gate) * up``, where gates and ups are the halves of what this layer gives.

        None where no kernel does both at once; (..., out / 2).
        """
        return multiply_gated(x, self.weight, self.bias) if self.tiled else None


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
    few, many = products
    out = x.new_empty(*x.shape[:-1], len(weight))
    if rows > FEW_ROWS:
        many(*_operands(x, weight, bias, out), False)
    else:
        few(*_operands(x, weight, bias, out))
    return out


def multiply_gated(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor | None:
    """``silu(gate) * up`` of ``x @ weight.T + bias``: gates are its first half, ups its second.

    As of two kernels one after the other, without what lies between them in memory. None where
    rows are few, or no kernel takes them; see ``multiply``.
    """
    rows = x.numel() // weight.shape[1]
    products = _products() if rows > FEW_ROWS and not torch.is_grad_enabled() else None
    if products is None or not _takes(x, weight, bias) or len(weight) % (2 * _OUTPUTS):
        return None
    x = x.contiguous()
    out = x.new_empty(*x.shape[:-1], len(weight) // 2)
    products[1](*_operands(x, weight, bias, out), True)
    return out


def _operands(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, out: torch.Tensor
) -> tuple[int | None, ...]:
    """What the kernels are told of a product; the caller holds the tensors."""
    at = None if bias is None else bias.data_ptr()
    rows = x.numel() // weight.shape[1]
    return x.data_ptr(), weight.data_ptr(), at, out.data_ptr(), rows, *weight.shape[::-1]


def _takes(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """Whether the kernels are made for these numbers and sizes."""
    return x.dtype is torch.bfloat16 and is_taken(weight, bias)


def is_taken(weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """Whether the kernels are made for weights of these numbers and sizes."""
    outputs, inputs = weight.shape
    return (
        weight.dtype is torch.bfloat16
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
    operands = (*(ctypes.c_void_p,) * 4, *(ctypes.c_int64,) * 3)
    compiled.product.argtypes = operands
    compiled.many.argtypes = (*operands, ctypes.c_int)
    compiled.product.restype = compiled.many.restype = None
    return compiled.product, compiled.many
