"""Perplexity and greedy agreement, through an engine."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.engine import Engine, EngineError, EngineRequest, SamplingParams

PROMPTS = 64
"""Prompts that are continued greedily."""
PROMPT_TOKENS = 64
NEW_TOKENS = 16


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood per token, in windows of a text."""

    value: float
    tokens: int
    """Tokens that were predicted: all of a window but its first."""


@dataclass(frozen=True)
class Agreement:
    """How far greedy continuations of two models are the same."""

    first: float
    """Share of prompts whose first new token is the same."""
    prefix: float
    """Mean share of new tokens before the first that differs."""
    prompts: int
    new_tokens: int


async def perplexity(
    engine: Engine,
    windows: Sequence[Sequence[int]],
    tick: Callable[[], None] = lambda: None,
) -> Perplexity:
    """Each window is scored for itself, from its second token on.

    Args:
        engine: over the model.
        windows: of a text.
        tick: called after each window.

    Raises:
        EngineError: a log-prob is no number.
    """
    nats, tokens = 0.0, 0
    for window in windows:
        (scored,) = await engine.score([], [list(window)])
        nats -= scored.total
        tokens += len(scored.logprobs)
        tick()
    if not math.isfinite(nats):
        raise EngineError("perplexity: a log-prob is not finite; are the weights damaged?")
    return Perplexity(math.exp(nats / tokens), tokens)


async def continuations(engine: Engine, windows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Greedy continuations of the windows' beginnings.

    Raises:
        EngineError: a request failed.
    """
    sampling = SamplingParams(max_tokens=NEW_TOKENS)

    async def one(index: int, window: Sequence[int]) -> list[int]:
        prompt = tuple(window[: min(PROMPT_TOKENS, len(window) // 2)])
        ids: list[int] = []
        async for chunk in engine.submit(EngineRequest(f"agree-{index}", prompt, sampling)):
            if chunk.error is not None:
                raise EngineError(chunk.error)
            ids += chunk.token_ids
        return ids

    return await asyncio.gather(*(one(i, w) for i, w in enumerate(windows[:PROMPTS])))


def agreement(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> Agreement:
    """Compare continuations of the same prompts."""
    shared = [_shared(a, b) for a, b in zip(ours, theirs, strict=True)]
    lengths = [max(len(a), len(b)) for a, b in zip(ours, theirs, strict=True)]
    return Agreement(
        first=sum(count > 0 for count in shared) / len(shared),
        prefix=sum(c / length for c, length in zip(shared, lengths, strict=True)) / len(shared),
        prompts=len(shared),
        new_tokens=max(lengths),
    )


def _shared(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """Tokens before the first that differs."""
    for index, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        if a != b:
            return index
    return min(len(ours), len(theirs))
