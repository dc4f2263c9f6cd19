"""torch.compile for the parts of a model that gain from it, where a compiler is at hand.

Each decoder layer is compiled by itself, so that equal layers are compiled once; attention
over documents, whose lengths change from batch to batch, stays outside. Norms, rotations,
activations and residual sums are fused (arXiv:2304.01277 is TorchDynamo's forerunner; see
PyTorch 2, ASPLOS 2024, section 4).
"""

from functools import lru_cache
from typing import Any, Literal

import torch

Wanted = bool | Literal["auto"]
_VARIANTS = 64
"""Compiled versions of one function: layers, training or not, sizes of a pass."""


@lru_cache
def compiler_problem(device: str) -> str:
    """Why nothing can be compiled for a type of device, or nothing: tried on one line."""

    def probe(x: torch.Tensor) -> torch.Tensor:
        return (x * 2 + 1).sum()

    try:
        found = torch.compile(probe, fullgraph=True)(torch.ones(64, device=device))
        return "" if float(found) == 192.0 else "a compiled sum is wrong"
    except Exception as error:  # a missing compiler shows in many ways
        text = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {text[0]}"


def decide(wanted: Wanted, device: str, gathered: bool) -> tuple[bool, str]:
    """Whether to compile, and what a user should be told.

    Args:
        wanted: ``auto`` compiles on GPUs, where every run gains; on CPUs the minute that it
            takes pays only in long runs, so there it must be asked for.
        gathered: weights come and go by hooks (ZeRO 3), which cannot be compiled.
    """
    if wanted is False or (wanted == "auto" and device == "cpu"):
        return False, ""
    if gathered:
        return False, "compile: not with parallel.zero_stage 3; training runs uncompiled"
    problem = compiler_problem(device)
    if problem:
        return False, f"compile: no working compiler ({problem}); training runs uncompiled"
    return True, ""


def compile_layers(model: Any) -> None:
    """Compile the decoder layers of a transformers model in place; names stay as they are."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _VARIANTS)
    for layer in model.model.layers:
        layer.compile()
