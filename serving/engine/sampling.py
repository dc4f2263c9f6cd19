"""Chooses next tokens from logits, each row from its own request's settings only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from contracts.engine import SamplingParams
from serving.engine.filters import adjust, adjusts, keep

_SEED_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Draw:
    """What one row's next token depends on besides its logits."""

    params: SamplingParams
    prompt: Sequence[int]
    output: Sequence[int]
    """Tokens generated so far; their number and the seed key the draw."""
    allowed: torch.Tensor | None = None
    """(vocabulary,): False where a guide forbids the token."""


@dataclass(frozen=True)
class Choice:
    """One row's next token."""

    token: int
    logprob: float
    """Natural log of its probability before any change of the logits."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens, before any change of the logits."""


def choose(logits: torch.Tensor, draws: Sequence[Draw]) -> list[Choice | None]:
    """Next token of each row; None where the logits are no distribution (NaN, infinite).

    Args:
        logits: shape (rows, vocabulary), float32.
        draws: one per row.
    """
    # Not logsumexp: it cuts a sum among threads, or does not, by how many rows there are.
    # log_softmax gives each row to one thread.
    plain = logits.log_softmax(dim=-1)
    changed = _changed(logits, draws)
    tokens = likeliest(changed)
    drawn = [row for row, draw in enumerate(draws) if draw.params.temperature > 0]
    if drawn:
        rows = torch.tensor(drawn, device=logits.device)
        tokens[rows] = _draw(changed[rows], [draws[r] for r in drawn])
    logprobs = plain.gather(1, tokens[:, None])[:, 0]
    # Both in one transfer: a GPU is waited for once. Doubles hold either exactly.
    chosen = torch.stack((tokens.double(), logprobs.double()), dim=1).tolist()
    return [
        Choice(int(token), logprob, _top(logits[row], plain[row], draws[row].params.top_logprobs))
        if math.isfinite(logprob)
        else None
        for row, (token, logprob) in enumerate(chosen)
    ]


def likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The first of each row's largest entries, or of those that are NaN; (rows,)."""
    if logits.device.type != "cpu":
        return logits.argmax(dim=-1)
    # torch's arg-max on a CPU is not vectorised, numpy's is: 17 times as fast.
    return torch.from_numpy(logits.numpy().argmax(axis=-1))


def _changed(logits: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Logits after guides, bias and penalties; the rows themselves where nothing changes."""
    touched = [row for row, d in enumerate(draws) if d.allowed is not None or adjusts(d.params)]
    if not touched:
        return logits
    changed = logits.clone()
    for row in touched:
        draw = draws[row]
        if draw.allowed is not None:
            changed[row].masked_fill_(~draw.allowed.to(logits.device), -torch.inf)
        adjust(changed[row], draw.params, draw.prompt, draw.output)
    return changed


def _draw(logits: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Inverse-CDF draw from the tempered and filtered distribution of each row."""
    temperatures = [d.params.temperature for d in draws]
    temperature = torch.tensor(temperatures, dtype=torch.float64, device=logits.device)
    # From the likeliest down, in double: the smallest temperature there is divides it to 0.
    below = logits.double() - logits.amax(dim=-1, keepdim=True)
    scaled = below / temperature[:, None]
    for row, draw in enumerate(draws):
        keep(scaled[row], draw.params)
    # Only kept tokens have mass, so a draw in [0, total) always lands on one of them.
    cumulative = torch.softmax(scaled, dim=-1).cumsum(dim=-1)
    uniform = torch.tensor([_uniform(d.params.seed, len(d.output)) for d in draws])
    target = uniform.double().to(logits.device) * cumulative[:, -1]
    return torch.searchsorted(cumulative, target[:, None], right=True)[:, 0].clamp_(
        max=logits.shape[1] - 1
    )


def _top(row: torch.Tensor, plain: torch.Tensor, count: int) -> tuple[tuple[int, float], ...]:
    if not count:
        return ()
    ids = row.topk(min(count, row.shape[0])).indices
    return tuple(zip(ids.tolist(), plain[ids].tolist(), strict=True))


def _uniform(seed: int, step: int) -> float:
    """A number in [0, 1) that only ``(seed, step)`` decide (Philox, counter-based)."""
    bits = np.random.Philox(key=seed & _SEED_MASK, counter=[step, 0, 0, 0])
    return float(np.random.Generator(bits).random())
