"""What lies between a decoder's products: norms, rotations, activations.

A small batch spends more time between products than in them. ``CompiledPieces`` make one pass
of what takes torch three to ten operations; ``Pieces`` are for machines without a compiler, and
for numbers and sizes that the kernels do not take.
"""

import logging
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import SiLUActivation

from serving.native.build import NoKernels
from serving.native.kernels import Kernels, kernels, takes

_LOG = logging.getLogger(__name__)


class Pieces:
    """By torch's operations."""

    def add_norm(self, hidden: torch.Tensor, added: torch.Tensor | None, norm: Any) -> torch.Tensor:
        """``hidden += added`` in place, and the root mean square norm of it by a module."""
        if added is not None:
            hidden.add_(added)
        return functional.rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)

    def rotate(
        self, heads: torch.Tensor, turned: int, cos: torch.Tensor, sin: torch.Tensor
    ) -> None:
        """Turn the first ``turned`` heads of (rows, heads, head_dim) in place; see ``rotary``."""
        own = heads[:, :turned]
        rolled = own.roll(own.shape[-1] // 2, -1)
        own.mul_(cos).addcmul_(rolled, sin)

    def gated(self, both: torch.Tensor, activate: Any) -> torch.Tensor:
        """``activate(gate) * up`` of (rows, 2 * size): gate and up side by side."""
        gate, up = both.chunk(2, dim=-1)
        product: torch.Tensor = activate(gate).mul_(up)
        return product


class CompiledPieces(Pieces):
    """The same by the kernels, where they take a tensor's type and size."""

    def __init__(self, compiled: Kernels) -> None:
        self._kernels = compiled

    def add_norm(self, hidden: torch.Tensor, added: torch.Tensor | None, norm: Any) -> torch.Tensor:
        """See ``Pieces``."""
        weight = norm.weight
        rows = hidden.dim() == 2 and hidden.is_contiguous()
        if not rows or weight.dtype != hidden.dtype or not takes(hidden, hidden.shape[-1]):
            return super().add_norm(hidden, added, norm)
        return self._kernels.add_norm(hidden, added, weight, norm.variance_epsilon)

    def rotate(
        self, heads: torch.Tensor, turned: int, cos: torch.Tensor, sin: torch.Tensor
    ) -> None:
        """See ``Pieces``."""
        if cos.dtype != heads.dtype or not takes(heads, heads.shape[-1] // 2):
            super().rotate(heads, turned, cos, sin)
            return
        self._kernels.rotate(heads, turned, cos, sin)

    def gated(self, both: torch.Tensor, activate: Any) -> torch.Tensor:
        """See ``Pieces``."""
        if not is_silu(activate) or not takes(both, both.shape[-1] // 2):
            return super().gated(both, activate)
        return self._kernels.swiglu(both)


def is_silu(activate: Any) -> bool:
    """Whether a module computes ``x * sigmoid(x)``."""
    return isinstance(activate, nn.SiLU | SiLUActivation)


def kernels_for(device: torch.device) -> Kernels | None:
    """The kernels, where a device is a CPU with a compiler at hand."""
    if device.type != "cpu":
        return None
    try:
        return kernels()
    except NoKernels as error:
        _LOG.warning("no compiled kernels, small batches run slower: %s", error)
        return None
