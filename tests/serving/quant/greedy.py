"""An engine's greedy tokens beside a model's logits."""

import asyncio
from typing import Any

import torch

from contracts.engine import Engine, EngineRequest, SamplingParams


def assert_near_greedy(engine: Engine, model: Any, count: int, slack: float) -> list[int]:
    """Ask for ``count`` tokens; each must be among the model's likeliest.

    Args:
        slack: how far below the largest logit, as a share of the largest magnitude.

    Returns:
        The tokens.
    """

    async def ask() -> list[int]:
        request = EngineRequest("q", (5, 6, 7), SamplingParams(max_tokens=count))
        return [t async for c in engine.submit(request) for t in c.token_ids]

    tokens = asyncio.run(ask())
    sequence = [5, 6, 7]
    for token in tokens:
        with torch.inference_mode():
            logits = model(torch.tensor([sequence])).logits[0, -1].float()
        assert logits[token] >= logits.max() - slack * logits.abs().max()
        sequence.append(token)
    return tokens
