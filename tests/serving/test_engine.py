import asyncio
import random
import threading
import time
from dataclasses import replace
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
    PromptTooLong,
    SamplingParams,
)
from serving.load import load_engine, load_model
from tests.serving.greedy import SLACK, assert_greedy


async def collect(engine: Engine, request: EngineRequest) -> tuple[list[int], list[float], object]:
    tokens: list[int] = []
    logprobs: list[float] = []
    reason = None
    async for chunk in engine.submit(request):
        assert chunk.error is None, chunk.error
        tokens += chunk.token_ids
        logprobs += chunk.logprobs
        reason = chunk.finish_reason
    return tokens, logprobs, reason


def random_request(rng: random.Random, vocab: int, context: int, name: str) -> EngineRequest:
    prompt = tuple(rng.randrange(vocab) for _ in range(rng.randint(1, context // 2)))
    sampling = SamplingParams(
        max_tokens=rng.randint(1, context - len(prompt)),
        temperature=rng.choice([0.0, 0.0, 0.7, 1.3]),
        top_p=rng.choice([1.0, 0.9]),
        top_k=rng.choice([0, 20]),
        seed=rng.randrange(1 << 40),
    )
    return EngineRequest(name, prompt, sampling)


@pytest.fixture(scope="module")
def engine(model_dir: Path):
    engine = load_engine(model_dir, slots=4, threads=2)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def vocab(model_dir: Path) -> int:
    return load_model(model_dir).config.vocab_size


def test_satisfies_the_protocol(engine: Engine) -> None:
    assert isinstance(engine, Engine)
    assert engine.capabilities == set(Capability)
    assert len(engine.model_digest) == 64


def test_greedy_tokens_are_transformers_own(model_dir: Path, engine: Engine, vocab: int) -> None:
    model = load_model(model_dir)
    rng = random.Random()
    for trial in range(4):
        prompt = [rng.randrange(vocab) for _ in range(rng.randint(1, 60))]
        request = EngineRequest(f"g{trial}", tuple(prompt), SamplingParams(max_tokens=40))
        tokens, logprobs, reason = asyncio.run(collect(engine, request))
        assert len(tokens) == 40
        assert reason == FinishReason.LENGTH
        assert_greedy(model, prompt, tokens, logprobs)


def with_shared_beginnings(requests: list[EngineRequest], start: tuple) -> list[EngineRequest]:
    """Every other prompt begins like the others do."""
    return [
        replace(r, prompt_ids=(start + r.prompt_ids)[: len(r.prompt_ids)]) if i % 2 else r
        for i, r in enumerate(requests)
    ]


LONG = SamplingParams(max_tokens=150)


@pytest.mark.parametrize("kind", ["model_dir", "bf16_dir", "int4_dir", "int8_cache"])
def test_company_changes_no_bit(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where prompts are cut, shared and preempted."""
    monkeypatch.setattr("serving.load.CHUNK", 32)
    path = request.getfixturevalue("bf16_dir" if kind == "int8_cache" else kind)
    engine = load_engine(
        path, slots=4, threads=2, cache_tokens=320, int8_cache=kind == "int8_cache"
    )
    size = load_model(path).config.vocab_size
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    wanted = [random_request(rng, size, 256, f"r{i}") for i in range(12)]
    start = tuple(rng.randrange(size) for _ in range(100))
    wanted = with_shared_beginnings(wanted, start)
    # Two that begin at once and cannot both end in a cache of 320 tokens: one is preempted. The
    # last is the beginning that is scored after it: what was computed is found.
    for index in (0, 1, 11):
        prompt = start if index else start[::-1]
        wanted[index] = replace(wanted[index], prompt_ids=prompt, sampling=LONG)
    options = [[rng.randrange(size) for _ in range(rng.randint(1, 30))] for _ in range(9)]

    async def crowd() -> tuple[list, list]:
        async def late(r: EngineRequest) -> tuple:
            if r.sampling is not LONG:
                await asyncio.sleep(rng.random() * 0.3)
            return await collect(engine, r)

        scored = asyncio.create_task(engine.score(start, options))
        return await asyncio.gather(*(late(r) for r in wanted)), await scored

    async def alone() -> tuple[list, list]:
        return [await collect(engine, r) for r in wanted], await engine.score(start, options)

    try:
        assert asyncio.run(crowd()) == asyncio.run(alone()), f"seed {seed}"
        stats = engine.stats()
        assert stats.preemptions > 0
        assert stats.tokens_cached > 0
        assert stats.blocks_used == 0
    finally:
        engine.close()


def test_scores_equal_a_plain_forward(model_dir: Path, engine: Engine, vocab: int) -> None:
    model = load_model(model_dir)
    rng = random.Random()
    for context_size in (0, 1, 37, 120):
        context = [rng.randrange(vocab) for _ in range(context_size)]
        options = [[rng.randrange(vocab) for _ in range(rng.randint(1, 90))] for _ in range(12)]
        rows = asyncio.run(engine.score(context, options))
        for option, row in zip(options, rows, strict=True):
            whole = torch.tensor([context + option])
            plain = torch.log_softmax(model(whole).logits[0].float(), -1)
            first = max(context_size, 1)
            expected = [plain[i - 1, whole[0, i]].item() for i in range(first, whole.shape[1])]
            assert row.logprobs == pytest.approx(expected, abs=SLACK)


def test_a_cache_in_8_bits_changes_little(model_dir: Path, engine: Engine, vocab: int) -> None:
    small = load_engine(model_dir, slots=2, int8_cache=True)
    rng = random.Random()
    context = [rng.randrange(vocab) for _ in range(150)]
    options = [[rng.randrange(vocab) for _ in range(40)] for _ in range(5)]

    async def both() -> list:
        return [await each.score(context, options) for each in (engine, small)]

    plain, rounded = asyncio.run(both())
    small.close()
    for one, other in zip(plain, rounded, strict=True):
        assert one.logprobs != other.logprobs
        assert other.total == pytest.approx(one.total, rel=0.02)


def test_a_long_context_gets_its_turn_in_a_crowd(model_dir: Path, vocab: int) -> None:
    """Where the cache is never empty enough by chance, and also among other scores."""
    engine = load_engine(model_dir, slots=8, threads=2, cache_tokens=256)
    rng = random.Random()
    context = [rng.randrange(vocab) for _ in range(240)]
    over = False

    async def client(index: int) -> None:
        prompt = tuple(rng.randrange(vocab) for _ in range(40))
        for turn in range(100_000):
            if over:
                return
            sampling = SamplingParams(max_tokens=9 + 2 * (index % 8))
            await collect(engine, EngineRequest(f"{index}-{turn}", prompt, sampling))

    async def short_scores() -> None:
        while not over:
            await engine.score(context[:50], [[1]])

    async def run() -> tuple[list, list]:
        nonlocal over
        crowd = [asyncio.create_task(client(i)) for i in range(12)]
        crowd += [asyncio.create_task(short_scores()) for _ in range(3)]
        await asyncio.sleep(0.2)
        try:
            score = engine.score(context, [[1, 2]])
            return await asyncio.wait_for(score, 300), await engine.score(context, [[1, 2]])
        finally:
            over = True
            await asyncio.gather(*crowd)

    try:
        first, second = asyncio.run(run())
        assert first == second
        assert engine.stats().blocks_used == 0
    finally:
        engine.close()


def test_a_score_that_is_given_up_leaves_the_line(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = load_engine(model_dir, slots=2, threads=2, cache_tokens=256)
    asked = SamplingParams(max_tokens=150)
    quick = engine.runner.step

    def step(*chunks: Any) -> Any:
        time.sleep(0.02)  # the first request outlives what happens meanwhile: 3 seconds at least
        return quick(*chunks)

    monkeypatch.setattr(engine.runner, "step", step)

    async def run() -> None:
        first = asyncio.create_task(collect(engine, EngineRequest("a", (1,) * 90, asked)))
        while not engine.stats().blocks_used:
            await asyncio.sleep(0.001)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(engine.score([2] * 250, [[1]]), 0.05)
        short = EngineRequest("b", (3,), SamplingParams(max_tokens=2))
        await asyncio.wait_for(collect(engine, short), 300)
        assert not first.done()
        await first

    try:
        asyncio.run(run())
    finally:
        engine.close()


def test_a_context_too_long_is_refused_with_nothing_to_score(engine: Engine) -> None:
    with pytest.raises(PromptTooLong):
        asyncio.run(engine.score([1] * 257, []))


def test_score_says_what_is_greedy(model_dir: Path, engine: Engine) -> None:
    tokens, _, _ = asyncio.run(
        collect(engine, EngineRequest("greedy", (5, 6, 7), SamplingParams(max_tokens=6)))
    )
    other = [*tokens[:-1], (tokens[-1] + 1) % 300]
    right, wrong, empty = asyncio.run(engine.score([5, 6, 7], [tokens, other, []]))
    assert right.greedy
    assert not wrong.greedy
    assert empty.logprobs == ()


def test_a_failing_step_ends_its_requests_only(engine: Engine, monkeypatch) -> None:
    runner = engine._loop.stepper.runner
    real = runner.step

    def broken(decode: list, prefill: list) -> dict:
        if any(chunk.sequence.tokens[0] == 13 for chunk in prefill):
            raise RuntimeError("no memory")
        return real(decode, prefill)

    monkeypatch.setattr(runner, "step", broken)

    async def run() -> list:
        request = EngineRequest("y", (14,), SamplingParams(max_tokens=2))
        good = asyncio.create_task(collect(engine, request))
        bad = [c async for c in engine.submit(EngineRequest("x", (13,), SamplingParams()))]
        return [bad[-1], await good]

    bad, good = asyncio.run(run())
    assert bad.finish_reason == FinishReason.ERROR
    assert "no memory" in bad.error
    assert len(good[0]) == 2


def test_update_weights(model_dir: Path, tmp_path: Path) -> None:
    engine = load_engine(model_dir, slots=2)
    state = {k: torch.randn_like(v) * 0.1 for k, v in load_model(model_dir).state_dict().items()}
    request = EngineRequest("u", (1, 2, 3), SamplingParams(max_tokens=5))

    async def run() -> tuple:
        before = await collect(engine, request)
        with pytest.raises(EngineError, match="shape"):
            await engine.update_weights({**state, "model.norm.weight": torch.ones(3)}, 1)
        with pytest.raises(EngineError, match="unknown"):
            await engine.update_weights({**state, "nonsense": torch.ones(3)}, 1)
        norm = state["model.norm.weight"]
        for wrong, says in (
            (norm.index_fill(0, torch.tensor([3]), torch.nan), "norm.weight goes from nan"),
            (norm.index_fill(0, torch.tensor([3]), -torch.inf), "goes from -inf"),
            (norm.double() * 1e300, r"torch\.float32 holds"),
            (norm.to(torch.complex64), "no dense tensor of real numbers"),
            ("weights", "norm.weight is no tensor"),
        ):
            with pytest.raises(EngineError, match=says):
                await engine.update_weights({**state, "model.norm.weight": wrong}, 1)
        with pytest.raises(EngineError, match="no state dict"):
            await engine.update_weights(list(state.values()), 1)  # type: ignore[arg-type]
        assert await collect(engine, request) == before
        await engine.update_weights(state, 7)
        chunks = [c async for c in engine.submit(request)]
        return before, chunks

    before, chunks = asyncio.run(run())
    engine.close()
    assert {c.policy_version for c in chunks} == {7}
    assert [c.logprobs[0] for c in chunks] != before[1]
    model = load_model(model_dir)
    model.load_state_dict(state)
    model.tie_weights()
    tokens = [c.token_ids[0] for c in chunks]
    assert len(tokens) == 5
    assert_greedy(model, [1, 2, 3], tokens, [c.logprobs[0] for c in chunks])


@pytest.mark.parametrize("reproducible", [True, False])
def test_new_weights_find_nothing_of_the_old(
    model_dir: Path, reproducible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.load.CHUNK", 32)
    engine = load_engine(model_dir, slots=2, reproducible=reproducible)
    model: Any = load_model(model_dir)
    state = {k: torch.randn_like(v) * 0.1 for k, v in model.state_dict().items()}
    prompt = [random.randrange(300) for _ in range(100)]
    request = EngineRequest("w", tuple(prompt), SamplingParams(max_tokens=5))

    async def run() -> tuple[list[int], list[int]]:
        await collect(engine, request)
        scoring = asyncio.create_task(engine.score(prompt, [[1] * 90] * 30))
        await asyncio.sleep(0.002)
        await engine.update_weights(state, 1)
        await scoring
        before = engine.stats().tokens_cached
        tokens, _, _ = await collect(engine, request)
        again, _, _ = await collect(engine, request)
        assert engine.stats().tokens_cached > before
        return tokens, again

    answers = asyncio.run(run())
    engine.close()
    model.load_state_dict(state)
    model.tie_weights()
    for tokens in answers:
        assert len(tokens) == 5
        assert_greedy(model, prompt, tokens)


def test_closing_lets_everybody_go(model_dir: Path) -> None:
    engine = load_engine(model_dir, slots=1)

    async def run() -> tuple:
        request = EngineRequest("long", (1,), SamplingParams(max_tokens=255))
        stream = engine.submit(request)
        await anext(stream)
        scores = [asyncio.create_task(engine.score([1], [[2]] * 400)) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.to_thread(engine.close)
        rest = [chunk.finish_reason async for chunk in stream]
        return rest[-1], await asyncio.gather(*scores, return_exceptions=True)

    reason, scores = asyncio.run(asyncio.wait_for(run(), 300))
    assert reason == FinishReason.ABORT
    assert all(isinstance(s, EngineError) or len(s) == 400 for s in scores)


def test_an_engine_whose_thread_dies_lets_everybody_go(model_dir: Path, monkeypatch) -> None:
    engine: Any = load_engine(model_dir, slots=1)
    monkeypatch.setattr(engine._loop.stepper.scheduler, "plan", lambda: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    async def run() -> list:
        return [c async for c in engine.submit(EngineRequest("x", (1,), SamplingParams()))]

    assert asyncio.run(asyncio.wait_for(run(), 300))[-1].finish_reason == FinishReason.ABORT
    engine._loop._thread.join(300)  # it lets everybody go before it ends
    assert not engine.alive
