"""An engine over two processes against one over one."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from contracts.engine import EngineError, EngineRequest, FinishReason, SamplingParams
from serving.directory import ModelError
from serving.load import load_engine, load_model
from tests.serving.greedy import SLACK, assert_greedy
from tests.serving.test_engine import collect, random_request

HOW: dict[str, Any] = dict(slots=4, threads=1, cache_tokens=320)


@pytest.fixture(scope="module")
def two(model_dir: Path) -> Iterator[Any]:
    """One group of processes for all tests; they end with their engine."""
    engine: Any = load_engine(model_dir, tensor_parallel=2, **HOW)
    (process,) = engine.runner._workers.processes
    yield engine
    engine.close()
    assert process.returncode == 0


def answers(engine: Any, wanted: list[EngineRequest], options: list[list[int]]) -> Any:
    async def run() -> Any:
        scored = asyncio.create_task(engine.score(wanted[0].prompt_ids, options))
        return await asyncio.gather(*(collect(engine, r) for r in wanted)), await scored

    return asyncio.run(asyncio.wait_for(run(), 400))


def test_tokens_equal_one_process(model_dir: Path, two: Any) -> None:
    """Greedy and drawn, with preemption, shared beginnings and scores in between."""
    rng = random.Random()
    vocab = load_model(model_dir).config.vocab_size
    wanted = [random_request(rng, vocab, 256, f"r{i}") for i in range(8)]
    options = [[rng.randrange(vocab) for _ in range(rng.randint(1, 9))] for _ in range(5)]
    one = load_engine(model_dir, **HOW)
    try:
        expected, scores = answers(one, wanted, options)
    finally:
        one.close()
    found, cut_scores = answers(two, wanted, options)
    again, _ = answers(two, wanted, options)
    assert again == found  # company and order of arrival change no bit here either
    equal = 0
    for (tokens, logprobs, reason), (cut, cut_logprobs, cut_reason) in zip(
        expected, found, strict=True
    ):
        assert cut_reason == reason
        assert len(cut) == len(tokens)
        same = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(cut, tokens, strict=True))
        )
        assert cut_logprobs[:same] == pytest.approx(logprobs[:same], abs=SLACK)
        equal += same == len(tokens)
    # The ranks' sums have other last bits: of some 1,000 tokens one that all but ties, or a draw
    # at the edge of two, may come out the other way. Ranks that are cut wrongly never agree.
    assert equal >= len(wanted) - 2
    for row, cut_row in zip(scores, cut_scores, strict=True):
        assert cut_row.logprobs == pytest.approx(row.logprobs, abs=SLACK)
    assert two.stats().blocks_used == 0


def test_new_weights_reach_all_ranks(model_dir: Path, two: Any) -> None:
    engine = two
    model: Any = load_model(model_dir)
    old = {k: v.clone() for k, v in model.state_dict().items()}
    state = {k: torch.randn_like(v) * 0.1 for k, v in model.state_dict().items()}
    prompt = [random.randrange(300) for _ in range(20)]
    request = EngineRequest("w", tuple(prompt), SamplingParams(max_tokens=8))

    async def run() -> list[Any]:
        before = await collect(engine, request)
        bad = {**state, "model.layers.0.self_attn.o_proj.weight": torch.ones(64, 63)}
        with pytest.raises(EngineError, match="shape"):
            await engine.update_weights(bad, 1)
        assert await collect(engine, request) == before
        await engine.update_weights(state, 3)
        chunks = [chunk async for chunk in engine.submit(request)]
        await engine.update_weights(old, 4)
        assert (await collect(engine, request))[0] == before[0]
        return chunks

    chunks = asyncio.run(asyncio.wait_for(run(), 400))
    model.load_state_dict(state)
    model.tie_weights()
    tokens = [c.token_ids[0] for c in chunks]
    assert len(tokens) == 8
    assert_greedy(model, prompt, tokens, [c.logprobs[0] for c in chunks])
    assert {c.policy_version for c in chunks} == {3}


ORPHANED = """
import os, signal, sys
from serving.load import load_engine
engine = load_engine(sys.argv[1], slots=2, threads=1, tensor_parallel=2)
print(engine.runner._workers.processes[0].pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def runs(pid: int) -> bool:
    """Whether a process is there and not merely unburied."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ranks_end_with_their_parent(model_dir: Path) -> None:
    command = [sys.executable, "-c", ORPHANED, str(model_dir)]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    pid = int(done.stdout)
    deadline = time.monotonic() + 300
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(pid)


def test_a_model_that_cannot_be_cut_starts_nothing(model_dir: Path) -> None:
    before = psutil.Process().children()
    with pytest.raises(ModelError, match="num_key_value_heads 2 cannot be cut"):
        load_engine(model_dir, tensor_parallel=4)
    assert psutil.Process().children() == before


def test_a_dead_rank_is_said_by_name(model_dir: Path) -> None:
    engine: Any = load_engine(model_dir, slots=2, threads=1, tensor_parallel=2)
    (process,) = engine.runner._workers.processes

    async def run() -> list[Any]:
        last = []
        request = EngineRequest("long", (1, 2), SamplingParams(max_tokens=250))
        async for chunk in engine.submit(request):
            if not last:
                os.kill(process.pid, signal.SIGKILL)
            last = [chunk]
        later = EngineRequest("later", (1,), SamplingParams(max_tokens=2))
        return last + [c async for c in engine.submit(later)]

    try:
        ends = asyncio.run(asyncio.wait_for(run(), 400))
        assert [c.finish_reason for c in ends] == [FinishReason.ERROR] * 2
        for chunk in ends:
            assert f"tensor-parallel rank 1 (process {process.pid}) died" in chunk.error
            assert "SIGKILL" in chunk.error
        assert not engine.alive
    finally:
        engine.close()
