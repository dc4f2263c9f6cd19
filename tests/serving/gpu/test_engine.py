"""The engine through the kernels, by Triton's interpreter: the same tokens as without."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from contracts.engine import Engine, EngineRequest, Guide, GuideKind, SamplingParams
from serving.engine import attention
from serving.gpu import pieces as gpu_pieces
from serving.gpu.paged_decode import paged_decode
from serving.gpu.ready import interpreting
from serving.load import load_engine
from tests.serving.conftest import make_model
from tests.serving.greedy import SLACK, assert_same_greedy


@pytest.fixture(scope="module")
def small_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("small"), num_hidden_layers=2)


def answers(engine: Engine, prompts: list[list[int]], new: int) -> list[list[tuple[int, float]]]:
    """Tokens and log-probs of prompts that run together."""

    async def one(index: int, prompt: list[int]) -> list[tuple[int, float]]:
        # Not all at once: rows come and go.
        settings = SamplingParams(max_tokens=new - index % 3)
        got = []
        async for chunk in engine.submit(EngineRequest(str(index), tuple(prompt), settings)):
            assert chunk.error is None, chunk.error
            got += zip(chunk.token_ids, chunk.logprobs, strict=True)
        return got

    async def run() -> list[list[tuple[int, float]]]:
        return await asyncio.gather(*(one(i, p) for i, p in enumerate(prompts)))

    try:
        return asyncio.run(run())
    finally:
        engine.close()


def prompts_for(count: int, longest: int = 80) -> list[list[int]]:
    rng = random.Random()
    return [[rng.randrange(5, 300) for _ in range(rng.randint(1, longest))] for _ in range(count)]


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every launch of the decode kernel."""
    rows: list[int] = []

    def counted(queries: torch.Tensor, *rest: Any) -> torch.Tensor:
        rows.append(len(queries))
        return paged_decode(queries, *rest)

    monkeypatch.setattr(attention, "paged_decode", counted)
    return rows


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each kernel of a layer was launched."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> None:
        kernel = getattr(gpu_pieces, name)

        def launch(*arguments: Any) -> Any:
            counts[name] += 1
            return kernel(*arguments)

        monkeypatch.setattr(gpu_pieces, name, launch)

    for name in ("add_norm", "rotate", "gated"):
        counted(name)
    return counts


@pytest.fixture
def kernels() -> Iterator[None]:
    with interpreting():
        yield


@pytest.mark.parametrize("reproducible", [True, False])
@pytest.mark.parametrize("int8", [False, True])
def test_greedy_tokens_are_the_same(
    small_dir: Path, reproducible: bool, int8: bool, launches: list[int], pieces: Counter[str]
) -> None:
    prompts = prompts_for(4)
    settings = dict(slots=3, max_context=128, reproducible=reproducible, int8_cache=int8)
    # The same norms: of another last bit, 8-bit codes of the cache may fall elsewhere.
    want = answers(load_engine(small_dir, **settings, compiled=False), prompts, 8)
    assert not launches
    assert not pieces
    with interpreting():
        engine = load_engine(small_dir, **settings)
    got = answers(engine, prompts, 8)
    # Two layers, and steps enough for four requests of at least six tokens on three slots.
    assert len(launches) >= 2 * 7
    assert set(launches) <= ({3} if reproducible else {1, 2, 3})
    # Two layers and the last norm.
    assert pieces["rotate"] == pieces["gated"] > len(launches)
    assert pieces["add_norm"] == 5 * pieces["gated"] // 2
    for mine, other in zip(got, want, strict=True):
        # A last bit may move a code of the cache by one of its 255 steps.
        assert_same_greedy(mine, other, slack=0.03 if int8 else SLACK)


def next_logprobs(engine: Engine, prompts: list[list[int]]) -> torch.Tensor:
    """Of the first 300 tokens after each prompt."""

    async def run() -> list[list[float]]:
        rows = [await engine.score(prompt, [[t] for t in range(300)]) for prompt in prompts]
        return [[each.logprobs[0] for each in row] for row in rows]

    try:
        return torch.tensor(asyncio.run(run()))
    finally:
        engine.close()


def test_with_packed_weights(int4_dir: Path) -> None:
    """Two kernels round bf16 differently: 1,200 log-probs are judged together.

    What they differ by is a thirtieth of what the log-probs of one prompt differ among
    themselves; those of other weights or another prompt differ by 1.4 times as much.
    """
    prompts = [*prompts_for(2, longest=12), [random.randrange(5, 300)], [7, 8, 9]]
    settings = dict(slots=3, max_context=128, reproducible=False)
    want = next_logprobs(load_engine(int4_dir, **settings, compiled=False), prompts)
    with interpreting():
        engine = load_engine(int4_dir, **settings)
    got = next_logprobs(engine, prompts)
    assert (got - want).norm() < 0.3 * (want - want.mean(1, keepdim=True)).norm()


def test_a_request_does_not_depend_on_company(small_dir: Path, kernels: None) -> None:
    prompts = prompts_for(3)
    settings = dict(slots=3, max_context=128)
    together = answers(load_engine(small_dir, **settings), prompts, 5)
    alone = answers(load_engine(small_dir, **settings), prompts[:1], 5)
    assert alone[0] == together[0]


def test_scores_and_guided_samples_are_the_same(small_dir: Path) -> None:
    rng = random.Random()
    context = [rng.randrange(5, 300) for _ in range(20)]
    continuations = [[rng.randrange(5, 300) for _ in range(n)] for n in (1, 1, 3)]
    guide = Guide(GuideKind.REGEX, "(quick|brown) fox")
    drawn = SamplingParams(max_tokens=8, temperature=0.8, top_p=0.9, seed=3, guide=guide)

    async def both(engine: Engine) -> tuple[list[float], list[int]]:
        scored = await engine.score(context, continuations)
        chunks = [c async for c in engine.submit(EngineRequest("x", tuple(context), drawn))]
        assert not any(c.error for c in chunks)
        totals = [sum(each.logprobs) for each in scored]
        return totals, [token for c in chunks for token in c.token_ids]

    found = []
    for context_of_engine in (interpreting, nullcontext):
        with context_of_engine():
            engine = load_engine(small_dir, slots=2, max_context=128)
        try:
            found.append(asyncio.run(both(engine)))
        finally:
            engine.close()
    assert found[0][0] == pytest.approx(found[1][0], abs=SLACK)
    assert found[0][1] == found[1][1]
