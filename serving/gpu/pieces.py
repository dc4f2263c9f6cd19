"""A layer's norms, rotations and activations by kernels, behind the engine's face for them."""

from typing import Any

import torch
from torch import nn
from transformers.activations import SiLUActivation

from serving.engine.pieces import Pieces
from serving.gpu.layer import add_norm, gated, rotate


class TritonPieces(Pieces):
    """Where a tensor lies as the kernels read it; torch's operations elsewhere."""

    def add_norm(self, hidden: torch.Tensor, added: torch.Tensor | None, norm: Any) -> torch.Tensor:
        """See ``Pieces``."""
        if hidden.dim() != 2 or not hidden.is_contiguous():
            return super().add_norm(hidden, added, norm)
        return add_norm(hidden, added, norm.weight, norm.variance_epsilon)

    def rotate(
        self, heads: torch.Tensor, turned: int, cos: torch.Tensor, sin: torch.Tensor
    ) -> None:
        """See ``Pieces``."""
        rotate(heads, turned, cos, sin)

    def gated(self, both: torch.Tensor, activate: Any) -> torch.Tensor:
        """See ``Pieces``."""
        if not isinstance(activate, nn.SiLU | SiLUActivation) or not both.is_contiguous():
            return super().gated(both, activate)
        return gated(both)
