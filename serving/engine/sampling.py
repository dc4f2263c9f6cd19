"""Chooses next tokens from logits, each row from its own request's settings only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from contracts.engine import SamplingParams
from serving.engine.filters import adjust, adjusts, keep
from serving.native.kernels import Kernels, takes

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


def choose(
    logits: torch.Tensor, draws: Sequence[Draw], compiled: Kernels | None = None
) -> list[Choice | None]:
    """Next token of each row; None where the logits are no distribution (NaN, infinite).

    Args:
        logits: shape (rows, vocabulary), bf16 or float32.
        draws: one per row.
        compiled: kernels that may look for the likeliest tokens.
    """
    tokens, norms = _likeliest_and_norms(logits, compiled)
    changed = {row: _changed(logits[row], draw) for row, draw in enumerate(draws) if _changes(draw)}
    if changed:
        rows = torch.tensor(list(changed), device=logits.device)
        tokens[rows] = likeliest(torch.stack(tuple(changed.values())))
    drawn = [row for row, draw in enumerate(draws) if draw.params.temperature > 0]
    if drawn:
        rows = torch.tensor(drawn, device=logits.device)
        table = torch.stack([changed.get(row, logits[row]).float() for row in drawn])
        tokens[rows] = _draw(table, [draws[row] for row in drawn])
    logprobs = logits.gather(1, tokens[:, None])[:, 0] - norms
    # Both in one transfer: a GPU is waited for once. Doubles hold either exactly.
    chosen = torch.stack((tokens.double(), logprobs.double()), dim=1).tolist()
    return [
        Choice(int(token), logprob, _top(logits[row], norms[row], draws[row].params.top_logprobs))
        if math.isfinite(logprob)
        else None
        for row, (token, logprob) in enumerate(chosen)
    ]


def _likeliest_and_norms(
    logits: torch.Tensor, compiled: Kernels | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest token of each row, and the logarithm of the sum of exponentials, float32."""
    if compiled is not None and logits.is_contiguous() and takes(logits):
        return compiled.likeliest(logits)
    tokens = likeliest(logits)
    # Not logsumexp: it cuts a sum among threads, or does not, by how many rows there are.
    # log_softmax gives each row to one thread.
    wide = logits.float()
    most = tokens[:, None]
    return tokens, (wide.gather(1, most) - wide.log_softmax(dim=-1).gather(1, most))[:, 0]


def likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The first of each row's largest entries, or of those that are NaN; (rows,)."""
    if logits.device.type != "cpu":
        return logits.argmax(dim=-1)
    # torch's arg-max on a CPU is not vectorised, numpy's is: 17 times as fast.
    return torch.from_numpy(logits.float().numpy().argmax(axis=-1))


def _changes(draw: Draw) -> bool:
    """Whether a guide, bias or penalty changes a row's logits."""
    return draw.allowed is not None or adjusts(draw.params)


def _changed(row: torch.Tensor, draw: Draw) -> torch.Tensor:
    """A row's logits after guide, bias and penalties, float32."""
    changed = row.to(torch.float32, copy=True)
    if draw.allowed is not None:
        changed.masked_fill_(~draw.allowed.to(row.device), -torch.inf)
    adjust(changed, draw.params, draw.prompt, draw.output)
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


def _top(row: torch.Tensor, norm: torch.Tensor, count: int) -> tuple[tuple[int, float], ...]:
    if not count:
        return ()
    ids = row.topk(min(count, row.shape[0])).indices
    return tuple(zip(ids.tolist(), (row[ids].float() - norm).tolist(), strict=True))


def _uniform(seed: int, step: int) -> float:
    """A number in [0, 1) that only ``(seed, step)`` decide (Philox, counter-based)."""
    bits = np.random.Philox(key=seed & _SEED_MASK, counter=[step, 0, 0, 0])
    return float(np.random.Generator(bits).random())
