"""What the backward pass computes again instead of keeping."""

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

_PRODUCTS = ("mm", "addmm", "bmm")
_ATTENTION = ("scaled_dot_product", "flash_attn", "varlen_attn")
"""Operators whose results are costly to make and are kept by ``selective``."""


def apply_recompute(model: Any, how: str) -> None:
    """Switch a transformers model's layers to ``none``, ``selective`` or ``full`` recompute.

    ``full`` keeps each layer's input only (arXiv:1604.06174); ``selective`` also keeps
    what matrix products and attention gave, and computes norms, activations and rotations
    again (after arXiv:2205.05198, which recomputes by cost).
    """
    if how == "none":
        return
    arguments: dict[str, Any] = {"use_reentrant": False}
    if how == "selective":
        arguments["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=arguments)


def _policy(context: Any, operator: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    if isinstance(operator, torch._ops.OpOverload):
        name = operator.name().removeprefix("aten::").split(".")[0]
        if name in _PRODUCTS or any(part in name for part in _ATTENTION):
            return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE
