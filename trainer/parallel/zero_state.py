"""DeepSpeed's sharded state as fragments of named parameters.

ZeRO 1 and 2 cut one flat buffer of all parameters, ZeRO 3 cuts every parameter. Both
keep views that say which run of which parameter a rank holds; nothing here depends on
how many ranks there are.
"""

from typing import Any

import torch
from torch import nn

from trainer.parallel.fragments import Fragment
from trainer.parallel.optimiser import MOMENTS, materialise


def prepare(zero: Any, stage: int) -> None:
    """Make AdamW's moments at once, so that a state can be loaded before the first step."""
    materialise(zero.optimizer, _flat_groups(zero, stage))


def fragments(zero: Any, module: nn.Module, stage: int) -> list[Fragment]:
    """The part of this rank: weights and moments, live."""
    read = _partitioned if stage == 3 else _bucketed
    return read(zero, [(n, p) for n, p in module.named_parameters() if p.requires_grad])


@torch.no_grad()
def round_weights(zero: Any, stage: int) -> None:
    """Round the fp32 weights into the ones that are trained with, on every rank."""
    if stage < 3:
        zero.update_lp_params()
        return
    persistent = zero.persistent_parameters
    if persistent:
        persistent[0].partition(persistent)
    for index in range(len(zero.fp16_groups)):
        zero._reassign_or_swap_out_partitioned_parameters(index)
    if persistent:
        persistent[0].all_gather(persistent)


def gathered_weights(model: nn.Module, keep: bool) -> dict[str, torch.Tensor]:
    """ZeRO 3's weights by name, gathered one by one; kept where ``keep`` says so."""
    import deepspeed

    whole: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        with deepspeed.zero.GatheredParameters([parameter]):
            if keep:
                whole[name] = parameter.detach().clone()
    return whole


def _flat_groups(zero: Any, stage: int) -> list[torch.Tensor]:
    """The flat fp32 tensors that AdamW steps."""
    if stage == 3:
        return list(zero.fp32_partitioned_groups_flat)
    if hasattr(zero, "fp32_groups_flat_partition"):  # DeepSpeed's optimiser of ZeRO 1 in bf16
        return list(zero.fp32_groups_flat_partition)
    return list(zero.single_partition_of_fp32_groups)


def _parameter_groups(zero: Any) -> list[list[nn.Parameter]]:
    return zero.bf16_groups if hasattr(zero, "bf16_groups") else zero.bit16_groups


def _bucketed(zero: Any, named: list[tuple[str, nn.Parameter]]) -> list[Fragment]:
    pairs = zip(_parameter_groups(zero), _flat_groups(zero, 1), strict=True)
    flat_of = {id(p): flat for group, flat in pairs for p in group}
    found = []
    for name, parameter in named:
        mapping = parameter._hp_mapping  # type: ignore[attr-defined]
        if mapping is None:
            continue
        flat = flat_of[id(parameter)]
        start = mapping.lp_fragment_address.start
        where = slice(
            mapping.hp_fragment_address.start,
            mapping.hp_fragment_address.start + mapping.hp_fragment_address.numel,
        )
        found.append(Fragment("master", name, start, flat.detach()[where]))
        state = zero.optimizer.state[flat]
        found += [Fragment(kind, name, start, state[kind][where]) for kind in MOMENTS]
    return found


def _partitioned(zero: Any, named: list[tuple[str, nn.Parameter]]) -> list[Fragment]:
    found = []
    for name, parameter in named:
        group, offset, size = zero.grad_position[zero.get_param_id(parameter)]
        start = torch.distributed.get_rank() * size
        whole = parameter.ds_numel  # type: ignore[attr-defined]
        where = slice(offset, offset + max(0, min(size, whole - start)))  # the rest is padding
        if where.stop == where.start:
            continue
        flat = zero.fp32_partitioned_groups_flat[group]
        state = zero.optimizer.state[flat]
        found.append(Fragment("master", name, start, flat.detach()[where]))
        found += [Fragment(kind, name, start, state[kind][where]) for kind in MOMENTS]
    return found
