"""Prompts of 200,000 tokens: the right token, in memory that the chunk bounds."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.serving.long_context import VOCABULARY, in_a_process, make_model
from contracts.engine import EngineRequest, SamplingParams
from serving.load import load_engine, load_model
from tests.serving.greedy import SLACK

LENGTH = 200_000
BOUND_MIB = 2048
"""Scores of the whole prompt at once would be 75 GiB for each head."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("cache", ["bf16", "int8"])
def test_memory_is_bounded(cache: str) -> None:
    assert in_a_process(LENGTH, cache)["beyond"] < BOUND_MIB


@pytest.mark.parametrize("length", [3000, pytest.param(30_000, marks=pytest.mark.slow)])
def test_long_prompts_give_transformers_token(length: int, tmp_path: Path) -> None:
    """Far beyond the original context of its YaRN scaling, chunk by chunk."""
    make_model(tmp_path, length)
    model: Any = load_model(tmp_path).float()
    model.save_pretrained(tmp_path)
    prompt = [random.randrange(VOCABULARY) for _ in range(length)]
    with torch.inference_mode():
        hidden = model.model(torch.tensor([prompt]), use_cache=False)[0][:, -1]
        expected = model.lm_head(hidden)[0].log_softmax(-1)
    engine = load_engine(tmp_path, slots=1, max_context=length + 32, threads=1)

    async def first() -> Any:
        request = EngineRequest("x", tuple(prompt), SamplingParams(max_tokens=1))
        return [chunk async for chunk in engine.submit(request)]

    try:
        (chunk,) = asyncio.run(first())
    finally:
        engine.close()
    (token,) = chunk.token_ids
    assert expected[token] >= expected.max() - SLACK  # another may all but tie with the first
    assert chunk.logprobs[0] == pytest.approx(expected[token].item(), abs=SLACK)
