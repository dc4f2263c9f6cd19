"""Cuts a model over the ranks of a group, before its weights are read.

Which layers are cut by columns and which by rows is transformers' own plan for the family
(``base_model_tp_plan``). Attention is cut by heads: a rank has the queries, keys, values and
cache of its own ones.
"""

import re
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from serving.directory import ModelError
from serving.parallel.group import Group
from serving.parallel.layers import TiedHead, empty_like
from serving.quant.linear import Int4Linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_KINDS = {"colwise": "columns", "rowwise": "rows"}
_WHOLE = frozenset({"replicated_with_grad_allreduce"})
"""What transformers' plans call a module that every rank has whole."""


def check_cut(config: Any, size: int, where: object) -> None:
    """Refuse a model that cannot be cut so, from its config alone.

    Raises:
        ModelError: no such plan for the family, or heads or columns that do not divide.
    """
    plan = getattr(config, "base_model_tp_plan", None) or {}
    strange = sorted(set(plan.values()) - set(_KINDS) - _WHOLE)
    if not plan or strange:
        reason = f"its plan has {', '.join(strange)}" if strange else "there is no plan for it"
        raise ModelError(
            f"{where}: {config.model_type}: tensor_parallel is not supported for this family: "
            f"{reason}; use tensor_parallel 1"
        )
    heads = config.num_attention_heads
    for what, count in (
        ("num_attention_heads", heads),
        ("num_key_value_heads", getattr(config, "num_key_value_heads", None) or heads),
        ("intermediate_size", config.intermediate_size),
    ):
        if count % size:
            raise ModelError(
                f"{where}: {what} {count} cannot be cut into tensor_parallel {size} equal parts"
            )


def shard(model: "PreTrainedModel", group: Group, where: object) -> None:
    """Put this rank's empty part in the place of every layer that is cut.

    Raises:
        ModelError: a layer whose type, or whose groups of weights, cannot be cut.
    """
    plan = getattr(model.config, "base_model_tp_plan", None) or {}
    prefix = f"{model.base_model_prefix}."
    for pattern, said in plan.items():
        if said not in _KINDS:
            continue
        expression = re.compile(re.escape(prefix + pattern).replace(r"\*", r"\d+"))
        for name in [n for n, _ in model.named_modules() if expression.fullmatch(n)]:
            _replace(model, name, _KINDS[said], group, where)
    _shard_head(model, group, where)


def _shard_head(model: "PreTrainedModel", group: Group, where: object) -> None:
    head: Any = model.get_output_embeddings()
    if head.out_features % group.size:
        return  # every rank multiplies with all of it
    if getattr(model.config, "tie_word_embeddings", False):
        tied = TiedHead(head.in_features, head.out_features, bias=False, device="meta")
        tied.weight, tied.group = head.weight, group
        model.set_output_embeddings(tied)
        return
    name = next(n for n, module in model.named_modules() if module is head)
    _replace(model, name, "vocabulary", group, where)


def _replace(model: "PreTrainedModel", name: str, kind: str, group: Group, where: object) -> None:
    old = model.get_submodule(name)
    if type(old) not in (nn.Linear, Int4Linear):
        raise ModelError(
            f"{where}: {name}: a layer of type {type(old).__name__} cannot be cut for "
            "tensor_parallel; use tensor_parallel 1"
        )
    if isinstance(old, Int4Linear) and kind == "rows":
        groups = old.in_features // old.group_size
        if groups % group.size:
            raise ModelError(
                f"{where}: {name}: {groups} groups of {old.group_size} weights cannot be cut into "
                f"tensor_parallel {group.size}; quantise again with a smaller group_size"
            )
    new: Any = empty_like(old, kind, group)
    new.cut_along = 1 if kind == "rows" else 0
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)


class Cuts:
    """Which part of every whole tensor this rank's model holds."""

    def __init__(self, model: nn.Module, group: Group) -> None:
        self._group = group
        self._along: dict[str, int] = {
            f"{name}.{key}": module.cut_along
            for name, module in model.named_modules()
            if hasattr(module, "cut_along")
            for key in module.state_dict()
        }

    def part(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """The part of a tensor that is this rank's; all of one that is not cut or cannot be."""
        along = self._along.get(name)
        if along is None:
            return whole
        if name.endswith(".bias") and along:
            # Added before the ranks' outputs are summed: by one of them.
            return whole if self._group.rank == 0 else torch.zeros_like(whole)
        if along >= whole.dim() or whole.shape[along] % self._group.size:
            return whole
        return whole.chunk(self._group.size, dim=along)[self._group.rank]
