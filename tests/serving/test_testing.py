import asyncio
import math
import random

import pytest

from contracts.engine import Engine, EngineError, EngineRequest, FinishReason, SamplingParams
from serving.testing import ScriptedEngine, UniformEngine


def collect(engine: Engine, request: EngineRequest) -> list:
    async def run() -> list:
        return [chunk async for chunk in engine.submit(request)]

    return asyncio.run(run())


@pytest.fixture
def oracle() -> ScriptedEngine:
    return ScriptedEngine(
        lambda prompt, request: [*prompt[::-1], 0],
        lambda context, ids: [0.0 if i in context else -9.0 for i in ids],
        vocab_size=50,
    )


def test_oracle(oracle: ScriptedEngine) -> None:
    assert isinstance(oracle, Engine)
    sampling = SamplingParams(max_tokens=9, stop_token_ids=(0,))
    chunks = collect(oracle, EngineRequest("a", (1, 2, 3), sampling))
    assert [c.token_ids[0] for c in chunks] == [3, 2, 1, 0]
    assert chunks[-1].finish_reason == FinishReason.STOP
    short = collect(oracle, EngineRequest("b", (1, 2, 3), SamplingParams(max_tokens=2)))
    assert [c.finish_reason for c in short] == [None, FinishReason.LENGTH]
    right, wrong = asyncio.run(oracle.score([4, 5], [[5], [6]]))
    assert right.greedy
    assert right.total > wrong.total


def test_oracle_refuses_like_an_engine(oracle: ScriptedEngine) -> None:
    with pytest.raises(EngineError):
        collect(oracle, EngineRequest("c", (77,), SamplingParams()))
    with pytest.raises(EngineError):
        collect(oracle, EngineRequest("d", (), SamplingParams()))
    oracle.close()
    with pytest.raises(EngineError, match="closed"):
        collect(oracle, EngineRequest("e", (1,), SamplingParams()))


def test_abort(oracle: ScriptedEngine) -> None:
    async def run() -> list:
        reasons = []
        async for chunk in oracle.submit(EngineRequest("f", (1, 2, 3, 4), SamplingParams())):
            await oracle.abort("f")
            reasons.append(chunk.finish_reason)
        return reasons

    assert asyncio.run(run()) == [None, FinishReason.ABORT]


def test_uniform_repeats_itself_and_knows_nothing() -> None:
    rng = random.Random()
    engine = UniformEngine(1000, seed=rng.randrange(1 << 30))
    wins = [0, 0, 0, 0]
    losses = []
    for question in range(800):
        options = [[rng.randrange(1000) for _ in range(rng.randint(1, 30))] for _ in wins]
        rows = asyncio.run(engine.score([question], options))
        assert rows == asyncio.run(engine.score([question], options))
        means = [row.total / len(row.logprobs) for row in rows]
        wins[means.index(max(means))] += 1
        losses += means
    spread = math.sqrt(800 * 0.25 * 0.75)
    assert all(abs(count - 200) < 5 * spread for count in wins)
    assert sum(losses) / len(losses) == pytest.approx(-math.log(1000), rel=0.01)
    request = EngineRequest("g", (1, 2), SamplingParams(max_tokens=20))
    assert collect(engine, request) == collect(engine, request)


def test_empty_context_scores_from_the_second_token() -> None:
    (row,) = asyncio.run(UniformEngine(10).score([], [[1, 2, 3]]))
    assert len(row.logprobs) == 2
