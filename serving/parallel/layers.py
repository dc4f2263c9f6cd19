"""One rank's part of a linear layer (Shoeybi et al. 2019, arXiv 1909.08053).

A layer cut by columns has some of the outputs and needs nothing of the others; it stays of its
own type. One cut by rows has some of the inputs, and its outputs are summed over the ranks. The
output projection is cut by vocabulary and its logits are joined.
"""

from typing import Any

import torch
from torch import nn

from serving.lora.site import add_adapters
from serving.native.linear import TileLinear
from serving.parallel.group import Group
from serving.quant.linear import Int4Linear


class _Summed:
    """Adds up the outputs of the ranks. The bias is rank 0's alone; the others hold zeros."""

    group: Group
    adds_adapters = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs of all inputs, from this rank's."""
        out = super().forward(x)  # type: ignore[misc]
        return self.group.sum(add_adapters(self, x, out))  # type: ignore[arg-type]


class RowLinear(_Summed, TileLinear):
    """Some inputs of a plain layer."""


class RowInt4(_Summed, Int4Linear):
    """Some inputs of a layer packed to 4 bits."""


class _Joined:
    """Puts the outputs of the ranks side by side."""

    group: Group

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All outputs, from this rank's."""
        return self.group.join(super().forward(x))  # type: ignore[misc]


class VocabularyLinear(_Joined, TileLinear):
    """Some rows of the output projection."""


class VocabularyInt4(_Joined, Int4Linear):
    """Some rows of an output projection packed to 4 bits."""


class TiedHead(TileLinear):
    """An output projection that is the embedding, which every rank has: it multiplies with
    its share of the rows.
    """

    group: Group

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the whole vocabulary."""
        share = len(self.weight) // self.group.size
        rows = self.weight[self.group.rank * share : (self.group.rank + 1) * share]
        return self.group.join(self.multiply(x, rows, None))


PLAIN: dict[str, type[nn.Linear]] = {
    "columns": nn.Linear,
    "rows": RowLinear,
    "vocabulary": VocabularyLinear,
}
PACKED: dict[str, type[Int4Linear]] = {
    "columns": Int4Linear,
    "rows": RowInt4,
    "vocabulary": VocabularyInt4,
}


def empty_like(old: nn.Module, kind: str, group: Group) -> nn.Module:
    """The part of a layer that is this rank's, weights not yet filled in.

    Args:
        old: the whole layer.
        kind: ``columns``, ``rows`` or ``vocabulary``.
        group: the ranks.
    """
    old_any: Any = old
    inputs, outputs = old_any.in_features, old_any.out_features
    if kind == "rows":
        inputs //= group.size
    else:
        outputs //= group.size
    new: Any
    bias = old_any.bias is not None
    if isinstance(old, Int4Linear):
        new = PACKED[kind](inputs, outputs, old.group_size, bias)
    else:
        weight = old_any.weight
        new = PLAIN[kind](inputs, outputs, bias, device="meta", dtype=weight.dtype)
        new.to_empty(device=weight.device)  # not initialised: the weights come from the files
    if kind != "columns":
        new.group = group
    return new
