"""The core: puts samples to an engine and grades what comes back. Knows no Ray."""

import asyncio
import time
from collections.abc import Sequence

from clusters.stage import StageError
from contracts.engine import Engine, EngineError
from contracts.score import Score
from evaluation.benchmark import Benchmark
from evaluation.methods.base import Answer, Grade
from evaluation.methods.registry import method_of
from evaluation.samples import Sample
from serving.tokenizer import ChatTokenizer

CONCURRENCY = 32
"""Samples in flight: enough to fill an engine's batch, few enough to measure latency."""


class EngineLacks(StageError):
    """The engine cannot do what a benchmark needs."""


def evaluate(
    engine: Engine,
    tokenizer: ChatTokenizer,
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    model: str,
    concurrency: int = CONCURRENCY,
) -> list[Score]:
    """Score ``samples``; one row each, in the same order.

    A sample the engine refuses becomes a row with ``error`` set and counts as wrong.

    Raises:
        EngineLacks: a capability is missing; nothing was asked.
    """
    method = method_of(benchmark)
    missing = method.needs - engine.capabilities
    if missing:
        names = ", ".join(sorted(missing))
        raise EngineLacks(f"{benchmark.name}: needs an engine with {names}, {model} has none")
    gate = asyncio.Semaphore(concurrency)

    async def one(sample: Sample) -> Score:
        async with gate:
            return await _score(engine, tokenizer, benchmark, sample, model)

    async def all_of_them() -> list[Score]:
        return await asyncio.gather(*(one(sample) for sample in samples))

    return asyncio.run(all_of_them())


async def _score(
    engine: Engine, tokenizer: ChatTokenizer, benchmark: Benchmark, sample: Sample, model: str
) -> Score:
    method = method_of(benchmark)
    started = time.perf_counter()
    error = None
    try:
        answer = await method.ask(engine, tokenizer, benchmark, sample)
        grade = method.grade(tokenizer, benchmark, sample, answer.output)
    except EngineError as refused:
        error = f"{type(refused).__name__}: {refused}"
        answer, grade = Answer("", "", 0, 0), Grade(None, 0.0)
    return Score(
        benchmark=benchmark.name,
        version=benchmark.version,
        sample_id=sample.id,
        model=model,
        prompt_hash=answer.prompt_hash,
        output=answer.output,
        extracted=grade.extracted,
        correct=grade.correct,
        error=error,
        truncated=answer.truncated,
        latency_ms=1000 * (time.perf_counter() - started),
        prompt_tokens=answer.prompt_tokens,
        output_tokens=answer.output_tokens,
        uid=sample.uid,
    )


def regrade(tokenizer: ChatTokenizer, benchmark: Benchmark, sample: Sample, row: Score) -> Score:
    """Extract and grade a saved output again; a row with an error stays as it is."""
    if row.error is not None:
        return row
    grade = method_of(benchmark).grade(tokenizer, benchmark, sample, row.output)
    return row.model_copy(update={"extracted": grade.extracted, "correct": grade.correct})
