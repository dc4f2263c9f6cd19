"""The two searches of AWQ (Lin et al. 2023, arXiv:2306.00978), as plain functions of tensors.

What is searched for is the rounding that changes a layer's outputs least. With inputs X, rows
are tokens, a change D of the weights changes the outputs by ``||X D'||^2 = tr(D G D')`` with
``G = X'X``: the inputs are needed as G alone, whatever their number.
"""

from collections.abc import Callable, Sequence

import torch

from serving.quant.rounding import rounded

GRID = 20
"""Exponents that are tried between none and one."""
JUDGED = 1 << 18
"""Weights per layer that scales are judged on, in whole output rows, evenly spread: judging all
of a wide layer would take most of the search and choose the same."""
_FEWEST_ROWS = 64
_ROWS = 1024
"""Output rows whose clipping is searched at once."""
_SMALLEST_SHARE = 0.5
_SHARES = 10


def output_change(change: torch.Tensor, gram: torch.Tensor) -> float:
    """Squared change of a layer's outputs over all calibration tokens.

    Args:
        change: of the weights, (out, in).
        gram: X'X of the inputs, (in, in).
    """
    return ((change @ gram) * change).sum().item()


def search_scales(
    weights: Sequence[torch.Tensor],
    gram: torch.Tensor,
    magnitude: torch.Tensor,
    group_size: int,
    tie: Callable[[torch.Tensor], torch.Tensor] = lambda factors: factors,
) -> torch.Tensor:
    """One factor per input for layers that read the same inputs: weights times it, inputs over it.

    Tried are ``m^a`` and ``m^a / w^(1 - a)`` for a in 0..1, with m the mean magnitude of each
    input and w that of its weights, each relative to its group; the first is the paper's, the
    second weighs what rounding costs too. a = 0 of the first is plain rounding, so the result is
    never worse than that on the calibration text.

    Args:
        weights: of the layers, (out, in) each.
        gram: X'X of their inputs, (in, in).
        magnitude: mean absolute value of each input, (in,).
        group_size: inputs per scale.
        tie: makes factors equal that must be.

    Returns:
        Shape (in,), float32, all positive.
    """
    judged = [_judged(weight) for weight in weights]
    best, least = torch.ones_like(magnitude), float("inf")
    for factors in map(tie, _candidates(weights, magnitude, group_size)):
        found = 0.0
        for weight in judged:
            change = rounded(weight * factors, group_size) / factors - weight
            found += output_change(change, gram)
        if found < least:
            best, least = factors, found
    return best


def _judged(weight: torch.Tensor) -> torch.Tensor:
    rows = max(_FEWEST_ROWS, JUDGED // weight.shape[1])
    return weight[:: -(-len(weight) // rows)].float()


def _candidates(
    weights: Sequence[torch.Tensor], magnitude: torch.Tensor, group_size: int
) -> list[torch.Tensor]:
    sizes = torch.cat([w.float().abs() for w in weights]).unflatten(1, (-1, group_size))
    relative = sizes / sizes.amax(dim=2, keepdim=True).clamp_min(1e-8)
    of_weights = relative.mean(dim=0).flatten()
    exponents = [step / GRID for step in range(GRID + 1)]
    tried = [magnitude.pow(a) for a in exponents]
    tried += [magnitude.pow(a) / of_weights.clamp_min(1e-4).pow(1 - a) for a in exponents[:-1]]
    return [_centred(factors) for factors in tried]


def _centred(factors: torch.Tensor) -> torch.Tensor:
    """Positive, and smallest times largest is one."""
    factors = factors.clamp_min(1e-4)
    return factors / (factors.max() * factors.min()).sqrt()


def search_clipping(weight: torch.Tensor, gram: torch.Tensor, group_size: int) -> torch.Tensor:
    """The share of each group's range that is best kept, (out, in / group).

    Each group is judged by what it alone changes, so that all are searched at once.

    Args:
        weight: (out, in), scaled already.
        gram: X'X of the inputs as they reach this weight, (in, in).
        group_size: inputs per scale.
    """
    groups = weight.shape[1] // group_size
    blocks = torch.stack(
        [
            gram[start : start + group_size, start : start + group_size]
            for start in range(0, weight.shape[1], group_size)
        ]
    )
    parts = [_clipping_of(part, blocks, group_size) for part in weight.float().split(_ROWS)]
    return torch.cat(parts).reshape(len(weight), groups)


def _clipping_of(weight: torch.Tensor, blocks: torch.Tensor, group_size: int) -> torch.Tensor:
    best = torch.ones(len(weight), len(blocks))
    least = torch.full_like(best, float("inf"))
    for step in range(_SHARES + 1):
        share = torch.full_like(best, 1 - (1 - _SMALLEST_SHARE) * step / _SHARES)
        change = (rounded(weight, group_size, share) - weight).unflatten(1, (-1, group_size))
        by_group = change.transpose(0, 1)
        found = (torch.bmm(by_group, blocks) * by_group).sum(dim=2).T
        better = found < least
        best, least = torch.where(better, share, best), torch.where(better, found, least)
    return best
