"""One decoder layer of the Llama family: where scales can go, and the layer packed.

A factor on a linear layer's inputs is undone exactly in what makes them: norm weights for the
projections behind a norm, the rows of ``v_proj`` for ``o_proj`` (attention mixes values by
tokens, not by channels), the rows of ``up_proj`` for ``down_proj`` (the gate multiplies).
"""

from dataclasses import dataclass
from typing import Any

import torch

from serving.quant.awq.search import search_clipping, search_scales
from serving.quant.rounding import Packed, dequantize, quantize, relative_error

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Fold:
    """Layers with the same inputs, and what takes the inverse of their scales."""

    source: str
    readers: tuple[str, ...]

    @property
    def norm(self) -> bool:
        """Whether the source is a norm, whose weight has one number per input."""
        return self.source.endswith("norm")


FOLDS = (
    Fold("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    Fold("self_attn.v_proj", ("self_attn.o_proj",)),
    Fold("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
    Fold("mlp.up_proj", ("mlp.down_proj",)),
)
_UNCLIPPED = ("self_attn.q_proj", "self_attn.k_proj")
"""Their outputs meet in a product, so what clipping costs is not seen in each alone."""


@dataclass(frozen=True)
class Seen:
    """What calibration text did at the inputs of one fold's readers."""

    gram: torch.Tensor
    """Mean of x x', (in, in), float32."""
    magnitude: torch.Tensor
    """Mean of abs(x), (in,), float32."""


class Watch:
    """Gathers ``Seen`` from forwards of a layer, by hooks."""

    def __init__(self, layer: Any) -> None:
        self._sums: dict[str, list[torch.Tensor]] = {}
        self._count = 0
        self._hooks = [
            layer.get_submodule(fold.readers[0]).register_forward_pre_hook(self._taker(fold))
            for fold in FOLDS
        ]

    def close(self) -> dict[str, Seen]:
        """Stop watching; by source of each fold."""
        for hook in self._hooks:
            hook.remove()
        return {
            source: Seen(gram / self._count, total / self._count)
            for source, (gram, total) in self._sums.items()
        }

    def _taker(self, fold: Fold) -> Any:
        def take(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            rows = inputs[0].flatten(0, -2).float()
            if fold is FOLDS[0]:
                self._count += len(rows)
            sums = self._sums.setdefault(
                fold.source, [torch.zeros(rows.shape[1], rows.shape[1]), torch.zeros(rows.shape[1])]
            )
            sums[0].addmm_(rows.T, rows)
            sums[1] += rows.abs().sum(dim=0)

        return take


def pack_layer(
    weights: Tensors, seen: dict[str, Seen], packed: list[str], group_size: int, head_dim: int
) -> tuple[Tensors, dict[str, Packed], dict[str, float]]:
    """Search scales and clipping for one layer, and pack it.

    Args:
        weights: the layer's tensors by name, float32; changed in place where scales go.
        seen: by source of each fold.
        packed: names of the linear modules to pack.
        group_size: inputs per scale.
        head_dim: of a value head.

    Returns:
        The tensors that stay, scaled; the packed modules by name; and the relative error of
        each against its scaled weight.
    """
    grams: Tensors = {}
    for fold in FOLDS:
        found = seen[fold.source]
        scalable = all(name in packed for name in fold.readers)
        factors = move_scales(weights, fold, found, group_size, head_dim) if scalable else None
        scaled = found.gram if factors is None else found.gram / torch.outer(factors, factors)
        grams |= dict.fromkeys(fold.readers, scaled)
    made, errors = {}, {}
    # Only now: the rows of some are divided by what later folds found.
    for name in packed:
        weight = weights.pop(f"{name}.weight")
        clipped = name not in _UNCLIPPED
        share = search_clipping(weight, grams[name], group_size) if clipped else None
        made[name] = quantize(weight, group_size, share)
        errors[name] = relative_error(weight, dequantize(made[name]))
    return weights, made, errors


def move_scales(
    weights: Tensors, fold: Fold, seen: Seen, group_size: int, head_dim: int
) -> torch.Tensor:
    """Multiply a fold's readers by the best factors and divide its source by them.

    The layer computes what it did before, but for rounding.

    Returns:
        The factors by input, (in,).
    """
    readers = [weights[f"{name}.weight"] for name in fold.readers]
    # With grouped queries several inputs of o_proj come from one row of v_proj.
    repeats = 1 if fold.norm else readers[0].shape[1] // len(weights[f"{fold.source}.weight"])

    width = head_dim if repeats > 1 else 1

    def tie(factors: torch.Tensor) -> torch.Tensor:
        heads = factors.view(-1, repeats, width)
        return heads.log().mean(dim=1, keepdim=True).exp().expand_as(heads).flatten()

    factors = search_scales(readers, seen.gram, seen.magnitude, group_size, tie)
    if fold.norm:
        factors = _into_norm(weights, fold.source, factors)
    else:
        by_row = factors.view(-1, repeats, width)[:, 0].flatten()
        weights[f"{fold.source}.weight"] /= by_row[:, None]
        if f"{fold.source}.bias" in weights:
            weights[f"{fold.source}.bias"] /= by_row
    for weight in readers:
        weight *= factors
    return factors


def _into_norm(weights: Tensors, source: str, factors: torch.Tensor) -> torch.Tensor:
    """Divide a norm's weight; what its rounding to bf16 changes goes to the factors."""
    old = weights[f"{source}.weight"]
    new = (old / factors).bfloat16().float()
    weights[f"{source}.weight"] = new
    return torch.where((new == 0) | (old == 0), torch.ones_like(old), old / new)
