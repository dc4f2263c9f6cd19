"""Speed of our engine through its public stream: scheduling, choosing, delivering included.

python -m benchmarks.serving.processes.ours JSON
"""

import asyncio
import json
import time
from typing import Any

from benchmarks.serving.processes.asked import Asked, asked, best
from contracts.engine import Engine, EngineRequest, SamplingParams
from serving.load import load_engine

_WARM_UP = 4
"""Tokens to make for each prompt's beginning before anything counts."""


async def _run(engine: Engine, prompts: list[list[int]], new: int) -> dict[str, Any]:
    firsts: list[float] = []
    started = time.perf_counter()

    async def one(index: int, prompt: list[int]) -> None:
        request = EngineRequest(str(index), tuple(prompt), SamplingParams(max_tokens=new))
        first = True
        async for chunk in engine.submit(request):
            assert chunk.error is None, chunk.error
            if first:
                firsts.append(time.perf_counter())
                first = False

    await asyncio.gather(*(one(i, prompt) for i, prompt in enumerate(prompts)))
    ended, ready = time.perf_counter(), max(firsts)
    tokens = sum(len(prompt) for prompt in prompts)
    return {
        "prefill": tokens / (ready - started),
        "decode": len(prompts) * (new - 1) / max(ended - ready, 1e-9),
        "whole": len(prompts) * new / (ended - started),
    }


def speed(question: Asked) -> dict[str, float]:
    """Tokens per second; no run knows a prefix from the one before."""
    prompts = question.prompts()
    engine = load_engine(
        question.path,
        slots=question.batch,
        max_context=question.prompt + 2 * question.new,
        threads=question.threads,
        **{"reproducible": False, "dense_rows": 0, **question.settings},
    )
    try:
        asyncio.run(_run(engine, [p[:8] for p in prompts], _WARM_UP))
        runs = [
            asyncio.run(_run(engine, [[i, *p[1:]] for p in prompts], question.new))
            for i in range(question.repeats)
        ]
    finally:
        engine.close()
    return best(runs)


if __name__ == "__main__":
    print(json.dumps(speed(asked())))
