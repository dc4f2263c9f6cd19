"""Many requests that come, go, are aborted, preempted and fail."""

import asyncio
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from contracts.engine import (
    Engine,
    EngineError,
    EngineRequest,
    FinishReason,
    Guide,
    GuideKind,
    InvalidSampling,
    InvalidToken,
    SamplingParams,
    TokenChunk,
)
from serving.engine import filters
from serving.load import load_engine, load_model


async def chunks(engine: Engine, request: EngineRequest) -> list[TokenChunk]:
    return [chunk async for chunk in engine.submit(request)]


def random_request(rng: random.Random, name: str) -> EngineRequest:
    prompt = tuple(rng.randrange(3) for _ in range(rng.randint(1, 60)))
    sampling = SamplingParams(
        max_tokens=rng.randint(1, 24), temperature=rng.choice([0, 1]), seed=rng.randrange(99)
    )
    return EngineRequest(name, prompt, sampling, priority=rng.choice([0, 0, -1, 1]))


@pytest.mark.parametrize("reproducible", [True, False])
def test_a_storm_leaves_nothing_in_use(model_dir: Path, reproducible: bool) -> None:
    rng = random.Random()
    engine = load_engine(
        model_dir, slots=6, max_context=96, cache_tokens=160, reproducible=reproducible
    )

    async def one(index: int) -> object:
        request = random_request(rng, f"r{index}")
        await asyncio.sleep(rng.random() / 2)
        if rng.random() < 0.2:
            return len(await engine.score(request.prompt_ids, [[1], [2, 2]]))
        leave = rng.randint(1, 10) if rng.random() < 0.4 else 99
        stream = engine.submit(request)
        reason = None
        async for chunk in stream:
            assert chunk.finish_reason != FinishReason.ERROR, chunk.error
            reason = chunk.finish_reason
            leave -= 1
            if leave == 0:
                await engine.abort(request.id) if rng.random() < 0.5 else await stream.aclose()
        return reason

    async def storm() -> list:
        return await asyncio.gather(*(one(i) for i in range(250)))

    try:
        results = asyncio.run(asyncio.wait_for(storm(), 500))
        stats = engine.stats()
        assert {FinishReason.LENGTH, 2} <= set(results)
        assert stats.preemptions > 0
        assert stats.tokens_cached > 0 or reproducible
        for _ in range(2000):  # a stream that was closed leaves within a step
            if not stats.running and not stats.waiting:
                break
            time.sleep(0.05)
            stats = engine.stats()
        assert (stats.running, stats.waiting, stats.blocks_used) == (0, 0, 0)
    finally:
        engine.close()


def test_not_a_number_ends_its_request_only(model_dir: Path) -> None:
    engine = load_engine(model_dir, slots=2)
    state = {k: v.clone() for k, v in load_model(model_dir).state_dict().items()}
    bad = state["model.embed_tokens.weight"]
    try:
        runner = engine._loop.stepper.runner  # type: ignore[attr-defined]
        # Untied: else the poisoned row would be everybody's logit too.
        head = torch.nn.Linear(bad.shape[1], bad.shape[0], bias=False)
        head.weight.data.copy_(bad)
        runner._model.lm_head = head
        runner._model.model.embed_tokens.weight = torch.nn.Parameter(bad.clone())
        runner._model.model.embed_tokens.weight.data[13] = torch.nan
        # Nobody may choose the poisoned token on its own.
        sampling = SamplingParams(max_tokens=4, logit_bias=((13, -1000.0),))

        async def both() -> list:
            return await asyncio.gather(
                chunks(engine, EngineRequest("bad", (5, 13, 6), sampling)),
                chunks(engine, EngineRequest("good", (5, 12, 6), sampling)),
            )

        for _ in range(3):
            sick, well = asyncio.run(both())
            assert sick[-1].finish_reason == FinishReason.ERROR
            assert "not finite" in str(sick[-1].error)
            assert well[-1].finish_reason == FinishReason.LENGTH
            assert len(well) == 4
        assert engine.stats().blocks_used == 0
    finally:
        engine.close()


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 1.5},
        {"min_p": -0.1},
        {"repetition_penalty": 0.0},
        {"logit_bias": ((10**6, 1.0),)},
        {"logit_bias": ((1, float("inf")),)},
        {"guide": Guide(GuideKind.REGEX, "(")},
        {"temperature": 1.0, "seed": None},
        {"seed": 1.5},
        {"max_tokens": None},
        {"temperature": "hot"},
        {"top_k": 2.5},
        {"logit_bias": {5: 1.0}},
        {"logit_bias": ((5, "much"),)},
    ],
)
def test_sampling_that_means_nothing_is_refused(model_dir: Path, bad: dict) -> None:
    engine = load_engine(model_dir, slots=1)
    try:
        with pytest.raises(InvalidSampling):
            asyncio.run(chunks(engine, EngineRequest("x", (1,), SamplingParams(**bad))))
        good = asyncio.run(chunks(engine, EngineRequest("y", (1,), SamplingParams(max_tokens=2))))
        assert len(good) == 2
    finally:
        engine.close()


def test_guided_tokens_come_from_the_grammar(model_dir: Path) -> None:
    from serving.tokenizer import ChatTokenizer

    tokenizer = ChatTokenizer.load(model_dir)
    engine = load_engine(model_dir, slots=3)

    async def ask(index: int) -> str:
        guide = Guide(GuideKind.CHOICE, '["red fox", "dog", "日"]')
        sampling = SamplingParams(max_tokens=30, temperature=2.0, seed=index, guide=guide)
        said = await chunks(engine, EngineRequest(f"g{index}", (7, 8), sampling))
        assert said[-1].finish_reason == FinishReason.STOP
        ids = [t for chunk in said for t in chunk.token_ids if t not in tokenizer.stop_ids]
        return tokenizer.decode(ids)

    async def several() -> list[str]:
        return await asyncio.gather(*(ask(i) for i in range(20)))

    try:
        assert set(asyncio.run(several())) <= {"red fox", "dog", "日"}
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"prompt_ids": (1.5,)}, InvalidToken),
        ({"prompt_ids": ("x",)}, InvalidToken),
        ({"prompt_ids": "text"}, InvalidToken),
        ({"prompt_ids": ()}, InvalidToken),
        ({"id": ["r"]}, EngineError),
        ({"priority": None}, EngineError),
    ],
)
def test_fields_of_a_wrong_type_are_refused(
    model_dir: Path, fields: dict, error: type[Exception]
) -> None:
    engine = load_engine(model_dir, slots=1)
    try:
        with pytest.raises(error):
            asyncio.run(chunks(engine, EngineRequest(**{"id": "x", "prompt_ids": (1,), **fields})))
        ids = np.array([1, 2, 3])
        good = asyncio.run(chunks(engine, EngineRequest("y", ids, SamplingParams(max_tokens=2))))
        assert len(good) == 2
    finally:
        engine.close()


def test_a_draw_that_fails_ends_its_request_only(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = filters.keep

    def keep(row: torch.Tensor, params: SamplingParams) -> None:
        if params.seed == 13:
            raise RuntimeError("out of memory")
        real(row, params)

    monkeypatch.setattr("serving.engine.sampling.keep", keep)
    engine = load_engine(model_dir, slots=3)

    async def all_three() -> list:
        asked = [SamplingParams(max_tokens=5, temperature=1.0, seed=s) for s in (12, 13, 14)]
        return await asyncio.gather(
            *(chunks(engine, EngineRequest(str(i), (5, 6), s)) for i, s in enumerate(asked))
        )

    try:
        before, sick, after = asyncio.run(all_three())
        assert "out of memory" in sick[-1].error
        assert [c[-1].finish_reason for c in (before, after)] == [FinishReason.LENGTH] * 2
        assert engine.stats().blocks_used == 0
    finally:
        engine.close()
