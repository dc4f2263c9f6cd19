"""The engine with compiled kernels and without: the tokens are transformers'."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from contracts.engine import EngineRequest, SamplingParams
from serving.load import load_engine, load_model
from tests.serving.conftest import make_model
from tests.serving.greedy import assert_greedy

NEW = 20


@pytest.fixture(scope="module")
def wide_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads that the kernels turn: 32 numbers, three queries to a key."""
    path = tmp_path_factory.mktemp("wide")
    return make_model(path, hidden_size=192, num_attention_heads=6, intermediate_size=352)


def prompts(count: int, shortest: int, longest: int) -> list[list[int]]:
    rng = random.Random()
    sizes = [rng.randint(shortest, longest) for _ in range(count)]
    return [[rng.randrange(300) for _ in range(size)] for size in sizes]


async def answers(engine: Any, asked: list[list[int]], new: int = NEW) -> list[list[int]]:
    async def one(index: int, prompt: list[int]) -> list[int]:
        request = EngineRequest(str(index), tuple(prompt), SamplingParams(max_tokens=new))
        return [t async for chunk in engine.submit(request) for t in chunk.token_ids]

    return await asyncio.gather(*(one(i, prompt) for i, prompt in enumerate(asked)))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("reproducible", "threads"), [(True, 1), (False, 2)])
def test_greedy_tokens_are_those_of_transformers(
    wide_dir: Path,
    compiled: bool,
    reproducible: bool,
    threads: int,
    request: pytest.FixtureRequest,
) -> None:
    if compiled:
        request.getfixturevalue("needs_compiler")
    asked = prompts(5, 1, 80)
    engine: Any = load_engine(
        wide_dir, slots=4, threads=threads, compiled=compiled, reproducible=reproducible
    )
    try:
        assert (engine.runner._residents is None) == compiled
        got = asyncio.run(answers(engine, asked))
    finally:
        engine.close()
    model = load_model(wide_dir)
    for prompt, tokens in zip(asked, got, strict=True):
        assert len(tokens) == NEW
        assert_greedy(model, prompt, tokens)


def test_rows_that_are_preempted_see_their_own_past(wide_dir: Path, needs_compiler: None) -> None:
    engine: Any = load_engine(wide_dir, slots=4, threads=1, cache_tokens=288)
    asked = prompts(6, 20, 31)
    try:
        together = asyncio.run(answers(engine, asked, new=90))
        assert engine.stats().preemptions
        alone = [asyncio.run(answers(engine, [prompt], new=90))[0] for prompt in asked]
    finally:
        engine.close()
    assert together == alone
