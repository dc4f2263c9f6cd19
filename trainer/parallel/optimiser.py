"""AdamW over fp32 master weights, and its state as fragments."""

from collections.abc import Iterable

import torch

from trainer.config import OptimiserConfig
from trainer.parallel.aligned import aligned_empty
from trainer.parallel.fragments import Fragment

MOMENTS = ("exp_avg", "exp_avg_sq")


def make_optimiser(
    named: list[tuple[str, torch.nn.Parameter]], config: OptimiserConfig
) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101) in torch; vectors (norm weights) have no weight decay."""
    groups = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return adamw(groups, config)


def adamw(groups: list[dict], config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW over parameter groups; the fused kernel makes one pass over each tensor."""
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW(groups, lr=config.lr, betas=betas, eps=1e-8, fused=True)


def materialise(optimiser: torch.optim.Optimizer, parameters: Iterable[torch.Tensor]) -> None:
    """Make the moments, zero, where there are none: torch makes them in the first step."""
    fresh = [p for p in parameters if "exp_avg" not in optimiser.state[p]]
    if not fresh:
        return
    device = fresh[0].device
    for moment in MOMENTS:
        made = aligned_empty([parameter.shape for parameter in fresh], device)
        for parameter, values in zip(fresh, made, strict=True):
            optimiser.state[parameter][moment] = values.zero_()
    for parameter in fresh:
        step = torch.zeros((), dtype=torch.float32, device=device)
        optimiser.state[parameter]["step"] = step


def steps_taken(optimiser: torch.optim.Optimizer) -> float:
    """Steps that AdamW's bias correction counts."""
    return max((float(state["step"]) for state in optimiser.state.values()), default=0.0)


def set_steps_taken(optimiser: torch.optim.Optimizer, steps: float) -> None:
    """Restore AdamW's count."""
    for state in optimiser.state.values():
        state["step"].fill_(steps)


def whole_fragments(
    names: list[str], masters: list[torch.Tensor], optimiser: torch.optim.Optimizer
) -> list[Fragment]:
    """State of parameters that are not cut, as fragments from element 0."""
    found = []
    for name, master in zip(names, masters, strict=True):
        found.append(Fragment("master", name, 0, master.detach().view(-1)))
        state = optimiser.state[master]
        found += [Fragment(kind, name, 0, state[kind].view(-1)) for kind in MOMENTS]
    return found
