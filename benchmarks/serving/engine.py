"""Decode and prefill speed of the engine beside transformers', one run, one machine.

python -m benchmarks.serving.engine [--small] [--threads 2]

128 prompt tokens, 64 new ones, greedy. Decode counts tokens after every request has its first;
"whole" counts all new tokens over the time from the first prompt to the last token.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import keep
from benchmarks.serving.model import SIZES, make_int4, make_model
from contracts.engine import Engine, EngineRequest, SamplingParams
from serving.load import load_engine

PROMPT, NEW = 128, 64
BATCHES = (1, 8, 32)
SHARED, SHARERS = 1000, 64
DENSE_ROWS = 24
"""From so many rows on, the 4-bit model multiplies with a bf16 copy."""
GOALS = {"generate": 2.0, "continuous": 4.0, "prefix": 5.0}


@dataclass(frozen=True)
class Speed:
    """Tokens per second of one batch."""

    prefill: float
    decode: float
    whole: float


async def _run(engine: Engine, prompts: list[list[int]], new: int) -> Speed:
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
    return Speed(
        prefill=tokens / (ready - started),
        decode=len(prompts) * (new - 1) / max(ended - ready, 1e-9),
        whole=len(prompts) * new / (ended - started),
    )


def ours(path: Path, prompts: list[list[int]], new: int, threads: int, repeats: int = 3) -> Speed:
    """Best of some runs; every run has prompts of its own, so that no prefix is known."""
    engine = load_engine(
        path,
        slots=len(prompts),
        max_context=2048 if len(prompts[0]) > 1024 else 256,
        threads=threads,
        reproducible=False,
        dense_rows=DENSE_ROWS,
    )
    try:
        asyncio.run(_run(engine, [p[:8] for p in prompts], 4))
        runs = [
            asyncio.run(_run(engine, [[i, *p[1:]] for p in prompts], new)) for i in range(repeats)
        ]
    finally:
        engine.close()
    return Speed(*(max(getattr(r, name) for r in runs) for name in ("prefill", "decode", "whole")))


def timed(work: Callable[[], Any], tokens: int, repeats: int = 2) -> float:
    """Tokens per second of the best of some runs, after one to warm up."""
    best = 0.0
    for attempt in range(repeats + 1):
        started = time.perf_counter()
        work()
        if attempt:
            best = max(best, tokens / (time.perf_counter() - started))
    return best


def transformers_generate(path: Path, prompts: list[list[int]]) -> float:
    """Tokens per second of ``generate`` over one padded batch."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    ids = torch.tensor(prompts)
    asked = dict(max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0)
    mask = torch.ones_like(ids)
    return timed(lambda: model.generate(ids, attention_mask=mask, **asked), len(prompts) * NEW)


def transformers_continuous(path: Path, prompts: list[list[int]]) -> float:
    """Tokens per second of transformers' own continuous batching."""
    from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    asked = GenerationConfig(max_new_tokens=NEW, do_sample=False, eos_token_id=-1, pad_token_id=0)
    cache = ContinuousBatchingConfig(page_size=256, num_blocks=64, max_batch_tokens=512)
    return timed(
        lambda: model.generate_batch(
            prompts, generation_config=asked, continuous_batching_config=cache
        ),
        len(prompts) * NEW,
        repeats=1,
    )


def shared_prefix(
    path: Path, rng: random.Random, threads: int, sharers: int
) -> tuple[float, float]:
    """Seconds for requests with one beginning: with the prefix cache, and with none in common."""
    start = [rng.randrange(SIZES["vocab_size"]) for _ in range(SHARED)]
    tails = [[rng.randrange(SIZES["vocab_size"]) for _ in range(8)] for _ in range(sharers)]
    seconds = []
    for prompts in ([start + t for t in tails], [[i, *start[1:], *t] for i, t in enumerate(tails)]):
        engine = load_engine(
            path, slots=sharers, max_context=SHARED + 64, threads=threads, reproducible=False
        )
        try:
            asyncio.run(_run(engine, [[5, 6, 7]], 4))
            speed = asyncio.run(_run(engine, prompts, 8))
        finally:
            engine.close()
        seconds.append(sharers * 8 / speed.whole)
    return seconds[0], seconds[1]


def report(name: str, what: str, value: float, peer: str, theirs: float, goal: float) -> None:
    """Keep one comparison of speeds."""
    ratio = value / theirs
    keep(
        f"serving-{name}",
        what=what,
        ours=round(value, 1),
        unit="tokens/s",
        peer=peer,
        theirs=round(theirs, 1),
        ratio=round(ratio, 2),
        goal=f">= {goal}",
        met=ratio >= goal,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tiny model: does it run at all?")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rng = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="inkstone-bench-") as folder:
        bf16 = make_model(Path(folder) / "bf16", arguments.small)
        int4 = make_int4(bf16, Path(folder) / "int4")
        for batch in BATCHES:
            prompts = [
                [rng.randrange(SIZES["vocab_size"]) for _ in range(PROMPT)] for _ in range(batch)
            ]
            for kind, path in (("bf16", bf16), ("int4", int4)):
                speed = ours(path, prompts, NEW, arguments.threads)
                print(f"{kind} batch {batch}: {speed}", flush=True)
                whole = speed.whole if kind == "bf16" else 0.0
                if batch != BATCHES[-1] or not whole:
                    continue
                for peer, measure in (
                    ("generate", transformers_generate),
                    ("continuous", transformers_continuous),
                ):
                    theirs = measure(path, prompts)
                    report_to = print if arguments.small else report
                    report_to(
                        f"engine-{peer}",
                        f"new tokens, batch {batch}, bf16, whole",
                        whole,
                        f"transformers {peer}",
                        theirs,
                        GOALS[peer],
                    )
        sharers = 8 if arguments.small else SHARERS
        known, apart = shared_prefix(bf16, rng, arguments.threads, sharers)
        print(
            f"{sharers} requests share {SHARED} tokens: {known:.2f} s, without cache {apart:.2f} s"
        )
        if not arguments.small:
            tokens = sharers * 8
            what = f"{sharers} requests that share {SHARED} tokens"
            report(
                "engine-prefix",
                what,
                tokens / known,
                "no prefix in common",
                tokens / apart,
                GOALS["prefix"],
            )


if __name__ == "__main__":
    main()
