"""Chooses next tokens from logits, each row from its own request's settings only."""

from collections.abc import Sequence

import numpy as np
import torch

from contracts.engine import SamplingParams

_SEED_MASK = (1 << 64) - 1


def sample(
    logits: torch.Tensor, params: Sequence[SamplingParams], steps: Sequence[int]
) -> tuple[list[int], list[float]]:
    """Next token of each row and its natural-log probability before any filter.

    Args:
        logits: shape (rows, vocabulary), float32.
        params: one per row.
        steps: tokens each row has generated so far; with the seed it keys the draw, so
            a draw depends on nothing but its own request.
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    tokens = torch.argmax(logits, dim=-1)
    drawn = [row for row, p in enumerate(params) if p.temperature > 0]
    if drawn:
        rows = torch.tensor(drawn)
        tokens[rows] = _draw(logits[rows], [params[r] for r in drawn], [steps[r] for r in drawn])
    chosen = logprobs.gather(1, tokens[:, None])[:, 0]
    return tokens.tolist(), chosen.tolist()


def _draw(
    logits: torch.Tensor, params: Sequence[SamplingParams], steps: Sequence[int]
) -> torch.Tensor:
    """Inverse-CDF draw from the tempered and filtered distribution of each row."""
    temperature = torch.tensor([p.temperature for p in params], dtype=torch.float32)
    scaled = logits / temperature[:, None]
    for row, p in enumerate(params):
        if 0 < p.top_k < scaled.shape[1]:
            _keep_top_k(scaled[row], p.top_k)
        if p.top_p < 1.0:
            _keep_nucleus(scaled[row], p.top_p)
    # Only kept tokens have mass, so a draw in [0, total) always lands on one of them.
    cumulative = torch.softmax(scaled.double(), dim=-1).cumsum(dim=-1)
    uniform = torch.tensor([_uniform(p.seed, s) for p, s in zip(params, steps, strict=True)])
    target = uniform.double() * cumulative[:, -1]
    return torch.searchsorted(cumulative, target[:, None], right=True)[:, 0].clamp_(
        max=logits.shape[1] - 1
    )


def _keep_top_k(row: torch.Tensor, k: int) -> None:
    """Keep the ``k`` largest logits; of equal ones, those with the smaller ids."""
    order = torch.argsort(row, descending=True, stable=True)
    row[order[k:]] = -torch.inf


def _keep_nucleus(row: torch.Tensor, top_p: float) -> None:
    """Keep the smallest set of tokens whose probability reaches ``top_p``.

    Nucleus sampling, Holtzman et al. 2020 (arXiv 1904.09751); at least one stays.
    """
    order = torch.argsort(row, descending=True, stable=True)
    probabilities = torch.softmax(row[order].double(), dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    row[order[before >= max(top_p, 1e-12)]] = -torch.inf


def _uniform(seed: int, step: int) -> float:
    """A number in [0, 1) that only ``(seed, step)`` decide (Philox, counter-based)."""
    bits = np.random.Philox(key=seed & _SEED_MASK, counter=[step, 0, 0, 0])
    return float(np.random.Generator(bits).random())
