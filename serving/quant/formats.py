"""The ways a linear layer's weights can be packed, behind one face."""

from typing import Protocol

import torch
from torch import nn

from serving.quant.config import QuantizeConfig, QuantizedWeights
from serving.quant.int8 import Int8Linear, dequantize_int8, quantize_int8
from serving.quant.linear import Int4Linear
from serving.quant.nf4 import Nf4Linear, dequantize_nf4, quantize_nf4
from serving.quant.rounding import Packed, dequantize, quantize

Tensors = dict[str, torch.Tensor]


class PackedLinear(Protocol):
    """A linear layer over packed weights."""

    def prepare(self) -> None:
        """Repack for the kernel, once the codes are loaded."""


class Format(Protocol):
    """Weights of shape (out, in) to named tensors and back, and the layer over them."""

    multiple: int
    """Inputs are a multiple of it."""

    def pack(self, weight: torch.Tensor) -> Tensors:
        """The buffers of ``layer`` by name."""
        ...

    def unpack(self, tensors: Tensors) -> torch.Tensor:
        """The weights they stand for, float32, shape (out, in)."""
        ...

    def layer(self, in_features: int, out_features: int, bias: bool) -> nn.Module:
        """An empty ``PackedLinear``."""
        ...


class Int4:
    """Asymmetric groups of 4 bits."""

    def __init__(self, group_size: int) -> None:
        self.multiple = group_size

    def pack(self, weight: torch.Tensor) -> Tensors:
        """Round to nearest."""
        return vars(quantize(weight, self.multiple))

    def unpack(self, tensors: Tensors) -> torch.Tensor:
        """See ``Format``."""
        return dequantize(Packed(**tensors))

    def layer(self, in_features: int, out_features: int, bias: bool) -> nn.Module:
        """See ``Format``."""
        return Int4Linear(in_features, out_features, self.multiple, bias)


class Int8:
    """Symmetric rows of 8 bits."""

    multiple = 1

    def pack(self, weight: torch.Tensor) -> Tensors:
        """Round to nearest."""
        codes, scales = quantize_int8(weight)
        return {"codes": codes, "scales": scales}

    def unpack(self, tensors: Tensors) -> torch.Tensor:
        """See ``Format``."""
        return dequantize_int8(**tensors)

    def layer(self, in_features: int, out_features: int, bias: bool) -> nn.Module:
        """See ``Format``."""
        return Int8Linear(in_features, out_features, bias)


class Nf4:
    """Blocks of normal quantiles, 4 bits."""

    def __init__(self, block: int) -> None:
        self.multiple = block

    def pack(self, weight: torch.Tensor) -> Tensors:
        """The nearest quantile of each weight."""
        codes, largest = quantize_nf4(weight, self.multiple)
        return {"codes": codes, "largest": largest}

    def unpack(self, tensors: Tensors) -> torch.Tensor:
        """See ``Format``."""
        return dequantize_nf4(tensors["codes"], tensors["largest"])

    def layer(self, in_features: int, out_features: int, bias: bool) -> nn.Module:
        """See ``Format``."""
        return Nf4Linear(in_features, out_features, self.multiple, bias)


def format_of(said: QuantizedWeights | QuantizeConfig) -> Format:
    """The format that a config.json names, or that a config asks for."""
    if said.bits == 8:
        return Int8()
    nf4 = said.code == "nf4" if isinstance(said, QuantizedWeights) else said.method == "nf4"
    return Nf4(said.group_size) if nf4 else Int4(said.group_size)
