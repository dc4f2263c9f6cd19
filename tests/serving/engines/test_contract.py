"""What every engine keeps, whoever made it: of all that are installed."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from contracts.engine import (
    Capability,
    Engine,
    EngineError,
    EngineRequest,
    FinishReason,
    InvalidSampling,
    InvalidToken,
    PromptTooLong,
    SamplingParams,
    UnknownAdapter,
)
from serving.engines.choose import ENGINES, EngineUnavailable, installed
from serving.load import load_engine, load_model
from tests.serving.greedy import assert_greedy
from tests.serving.test_engine import collect


@pytest.fixture(scope="module", params=filter(installed, ENGINES))
def engine(request: pytest.FixtureRequest, model_dir: Path) -> Iterator[Any]:
    engine = load_engine(model_dir, slots=4, threads=1, max_context=200, engine=request.param)
    yield engine
    engine.close()


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 400))


def test_says_what_it_is(engine: Any) -> None:
    assert isinstance(engine, Engine)
    assert Capability.IDS in engine.capabilities
    assert len(engine.model_digest) == 64
    assert engine.stats().max_context == 200


def test_greedy_tokens_are_transformers_own(engine: Any, model_dir: Path) -> None:
    model: Any = load_model(model_dir)
    rng = random.Random()
    prompts = [[rng.randrange(300) for _ in range(rng.randint(1, 90))] for _ in range(8)]

    async def all_at_once() -> Any:
        requests = [
            EngineRequest(f"g{i}", tuple(p), SamplingParams(max_tokens=12))
            for i, p in enumerate(prompts)
        ]
        return await asyncio.gather(*(collect(engine, r) for r in requests))

    for prompt, (tokens, logprobs, reason) in zip(prompts, run(all_at_once()), strict=True):
        assert len(tokens) == 12
        assert reason == FinishReason.LENGTH
        assert_greedy(model, prompt, tokens, logprobs)


def test_a_stop_token_is_the_last(engine: Any) -> None:
    first, _, _ = run(collect(engine, EngineRequest("a", (9, 8), SamplingParams(max_tokens=8))))
    sampling = SamplingParams(max_tokens=8, stop_token_ids=(first[3],))
    tokens, logprobs, reason = run(collect(engine, EngineRequest("b", (9, 8), sampling)))
    assert tokens == first[: first.index(first[3]) + 1]
    assert len(logprobs) == len(tokens)
    assert reason == FinishReason.STOP


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "error"),
    [
        ((), 4, InvalidToken),
        ((-1,), 4, InvalidToken),
        ((10**6,), 4, InvalidToken),
        ((1,) * 195, 6, PromptTooLong),
        ((1,), 0, EngineError),
    ],
)
def test_refuses_by_type_and_goes_on(
    engine: Any, prompt: tuple[int, ...], max_tokens: int, error: type[Exception]
) -> None:
    bad = EngineRequest("bad", prompt, SamplingParams(max_tokens=max_tokens))
    with pytest.raises(error):
        run(collect(engine, bad))
    good = EngineRequest("good", (1, 2), SamplingParams(max_tokens=3))
    assert len(run(collect(engine, good))[0]) == 3


def test_refuses_what_it_does_not_offer(engine: Any) -> None:
    request = EngineRequest("x", (1,), SamplingParams(max_tokens=2), adapter="nobody")
    with pytest.raises(UnknownAdapter, match="nobody"):
        run(collect(engine, request))
    if Capability.GUIDE not in engine.capabilities:
        sampling = SamplingParams(max_tokens=2, logit_bias=((3, 1.0),))
        with pytest.raises(InvalidSampling, match="logit_bias"):
            run(collect(engine, EngineRequest("y", (1,), sampling)))


def test_abort_and_leaving_free_the_place(engine: Any) -> None:
    async def aborted() -> Any:
        reason = None
        long = EngineRequest("long", (3,), SamplingParams(max_tokens=190))
        async for chunk in engine.submit(long):
            reason = chunk.finish_reason
            await engine.abort("long")
        return reason

    async def left() -> None:
        stream = engine.submit(EngineRequest("left", (4,), SamplingParams(max_tokens=190)))
        await anext(stream)
        await stream.aclose()
        # Its id is free at once.
        again = EngineRequest("left", (4,), SamplingParams(max_tokens=2))
        assert len((await collect(engine, again))[0]) == 2

    assert run(aborted()) == FinishReason.ABORT
    run(left())
    assert engine.stats().running == 0


def test_scores_are_the_models(engine: Any, model_dir: Path) -> None:
    context = [random.randrange(300) for _ in range(30)]
    if Capability.SCORE not in engine.capabilities:
        with pytest.raises(EngineError, match="does not offer it"):
            run(scores(engine, context))
        return
    model: Any = load_model(model_dir)
    plain = torch.log_softmax(model(torch.tensor([[*context, 7, 8]])).logits[0].float(), -1)
    full, empty, bare = run(scores(engine, context))
    assert full.logprobs == pytest.approx([plain[29, 7].item(), plain[30, 8].item()], abs=1e-4)
    assert empty.logprobs == ()
    assert len(bare.logprobs) == 2


async def scores(engine: Any, context: list[int]) -> Any:
    full, empty = await engine.score(context, [[7, 8], []])
    (bare,) = await engine.score([], [context[:3]])
    return full, empty, bare


def test_new_weights_while_a_request_runs(engine: Any, model_dir: Path) -> None:
    state = load_model(model_dir).state_dict()
    if Capability.UPDATE not in engine.capabilities:
        with pytest.raises(EngineError, match="does not offer it"):
            run(engine.update_weights(state, 9))
        return
    before = engine.stats().tokens_generated

    async def versions() -> list[int]:
        seen = []
        request = EngineRequest("u", (3, 4), SamplingParams(max_tokens=150))
        async for chunk in engine.submit(request):
            assert chunk.error is None, chunk.error
            seen += [chunk.policy_version] * len(chunk.token_ids)
            if len(seen) == 5:
                await engine.update_weights(state, 9)
        return seen

    seen = run(versions())
    assert len(seen) == 150
    assert set(seen) == {0, 9}
    assert seen == sorted(seen)
    assert engine.stats().tokens_generated == before + 150
    assert engine.model_digest.endswith("@9")
    with pytest.raises(EngineError):
        run(engine.update_weights({"nonsense": torch.ones(1)}, 10))


def test_closed_engines_refuse(engine: Any, model_dir: Path) -> None:
    name = "paged" if Capability.GUIDE in engine.capabilities else "transformers"
    other = load_engine(model_dir, slots=1, threads=1, engine=name)
    other.close()
    with pytest.raises(EngineError, match="closed"):
        run(collect(other, EngineRequest("z", (1,), SamplingParams())))


def test_says_what_is_missing(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineUnavailable, match="there are paged, transformers, vllm, lmdeploy"):
        load_engine(model_dir, engine="magic")
    with pytest.raises(EngineUnavailable, match="has no int8_cache; only paged has"):
        load_engine(model_dir, engine="transformers", int8_cache=True)
    monkeypatch.setattr("serving.engines.choose.installed", lambda name: False)
    for name in ("vllm", "lmdeploy"):
        with pytest.raises(EngineUnavailable, match=rf"pip install 'inkstone\[{name}\]'"):
            load_engine(model_dir, engine=name)
