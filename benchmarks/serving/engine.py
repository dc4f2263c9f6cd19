"""Decode and prefill speed of the engine beside llama.cpp's and transformers', in one run.

python -m benchmarks.serving.engine [--small] [--threads 2]

128 prompt tokens, 64 new ones, greedy. Decode counts tokens after every request has its first;
"whole" counts all new tokens over the time from the first prompt to the last token. The engine
is measured through its public stream: scheduling, choosing and delivering tokens included. Of
llama.cpp only ``llama_decode`` is timed (``peers/llama_speed.py``). The engine asks for large
pages; transformers runs in the same process, so it has them too.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers import run_peer
from benchmarks.report import compare
from benchmarks.serving.model import SIZES, SMALL, make_int4, make_model
from contracts.engine import Engine, EngineRequest, SamplingParams
from serving.load import load_engine
from serving.pages import ask_for_large_pages

PROMPT, NEW = 128, 64
BATCHES = (1, 8, 32)
SHARED, SHARERS = 1000, 64
DENSE_ROWS = 5
"""From so many rows on, the 4-bit model multiplies with a copy where it keeps one."""
GENERATE_GOALS = {1: 1.0, 8: 1.0, 32: 2.0}
CONTINUOUS_GOAL, PREFIX_GOAL = 4.0, 5.0
DECODE_GOALS = {1: 0.8, 8: 1.2, 32: 1.8}
PREFILL_BATCH, PREFILL_GOAL = 8, 1.3
LLAMA = Path(__file__).parent / "peers" / "llama_speed.py"


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


def ours(
    path: Path,
    prompts: list[list[int]],
    new: int,
    threads: int,
    repeats: int = 3,
    **settings: Any,
) -> Speed:
    """Best of some runs; every run has prompts of its own, so that no prefix is known."""
    engine = load_engine(
        path,
        slots=len(prompts),
        max_context=2048 if len(prompts[0]) > 1024 else 256,
        threads=threads,
        **{"reproducible": False, "dense_rows": 0, **settings},
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


def report(
    name: str,
    what: str,
    value: float,
    peer: str,
    theirs: float,
    goal: float,
    small: bool,
    **extra: Any,
) -> None:
    """Keep one comparison of speeds; of the small model, print it."""
    if small:
        print(f"{name}: {value:.1f}, {peer} {theirs:.1f}: {value / theirs:.2f} {extra}")
        return
    compare(
        f"serving-{name}",
        what=what,
        ours=value,
        unit="tokens/s",
        peer=peer,
        theirs=theirs,
        least=goal,
        **extra,
    )


def against_llama(
    speeds: dict[int, dict[str, Speed]], folder: Path, threads: int, small: bool
) -> None:
    """Decode by batch and prefill, beside llama.cpp's Q4_0 on a model of the same shape."""
    sizes = {**SIZES, **(SMALL if small else {})}
    said = run_peer(LLAMA, json.dumps(sizes), folder, threads, PROMPT, NEW, *BATCHES)
    for batch, goal in DECODE_GOALS.items():
        kinds = {kind: round(speed.decode, 1) for kind, speed in speeds[batch].items()}
        best = max((k for k in kinds if k.startswith("int4")), key=lambda kind: kinds[kind])
        report(
            f"engine-decode-{batch}",
            f"decode, batch {batch}, 4-bit weights ({best}), new tokens after the first",
            kinds[best],
            "llama.cpp Q4_0",
            said["q4_0"][str(batch)]["decode"],
            goal,
            small,
            all_ours=kinds,
            llama_f16=round(said["f16"][str(batch)]["decode"], 1),
            peer_built_for=said["system"],
        )
    prefill = {kind: round(s.prefill, 1) for kind, s in speeds[PREFILL_BATCH].items()}
    best = max((k for k in prefill if k.startswith("int4")), key=lambda kind: prefill[kind])
    report(
        "engine-prefill",
        f"prefill of {PREFILL_BATCH} prompts of {PROMPT} tokens, 4-bit weights ({best})",
        prefill[best],
        "llama.cpp Q4_0",
        said["q4_0"][str(PREFILL_BATCH)]["prefill"],
        PREFILL_GOAL,
        small,
        all_ours=prefill,
        llama_f16=round(said["f16"][str(PREFILL_BATCH)]["prefill"], 1),
        peer_built_for=said["system"],
    )


def against_transformers(
    path: Path,
    prompts: dict[int, list[list[int]]],
    speeds: dict[int, dict[str, Speed]],
    small: bool,
) -> None:
    """Whole batches in bf16 beside ``generate``, and the largest beside continuous batching."""

    def beside(peer: str, name: str, batch: int, theirs: float, goal: float) -> None:
        whole = {kind: round(speed.whole, 1) for kind, speed in speeds[batch].items()}
        report(
            f"engine-{name}",
            f"new tokens, batch {batch}, bf16, whole",
            whole["bf16"],
            f"transformers {peer}",
            theirs,
            goal,
            small,
            all_ours=whole,
        )

    largest = BATCHES[-1]
    for batch, goal in GENERATE_GOALS.items():
        name = "generate" if batch == largest else f"generate-{batch}"
        beside("generate", name, batch, transformers_generate(path, prompts[batch]), goal)
    theirs = transformers_continuous(path, prompts[largest])
    beside("continuous", "continuous", largest, theirs, CONTINUOUS_GOAL)


def against_no_cache(path: Path, rng: random.Random, threads: int, small: bool) -> None:
    """Requests that share a beginning beside as many that share none."""
    sharers = 8 if small else SHARERS
    known, apart = shared_prefix(path, rng, threads, sharers)
    report(
        "engine-prefix",
        f"{sharers} requests that share {SHARED} tokens",
        sharers * 8 / known,
        "no prefix in common",
        sharers * 8 / apart,
        PREFIX_GOAL,
        small,
    )


def kinds_of(bf16: Path, int4: Path, only: str | None) -> dict[str, dict[str, Any]]:
    """What is measured, by name; beside one peer alone, what is compared with it."""
    copied = {"path": int4, "dense_rows": DENSE_ROWS}
    kinds: dict[str, dict[str, Any]] = {
        "bf16": {"path": bf16},
        "int4": {"path": int4},
        f"int4, 8-bit copy from {DENSE_ROWS} rows": copied,
    }
    if only is not None:
        wanted = int4 if only == "llama" else bf16
        return {kind: how for kind, how in kinds.items() if how["path"] == wanted}
    for kind, how in list(kinds.items()):
        kinds[f"{kind}, reproducible"] = {**how, "reproducible": True}
        kinds[f"{kind}, uncompiled"] = {**how, "compiled": False}
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tiny model: does it run at all?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["llama", "transformers", "prefix"])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    ask_for_large_pages()  # as ``load_engine`` does, but before the models are made
    torch.set_num_threads(arguments.threads)
    rng = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="inkstone-bench-") as name:
        folder = Path(name)
        bf16 = make_model(folder / "bf16", arguments.small)
        untied = make_model(folder / "untied", arguments.small, tied=False)
        int4 = make_int4(untied, folder / "int4", lm_head=True)
        if arguments.only == "prefix":
            against_no_cache(bf16, rng, arguments.threads, arguments.small)
            return
        speeds: dict[int, dict[str, Speed]] = {}
        prompts: dict[int, list[list[int]]] = {}
        for batch in BATCHES:
            prompts[batch] = [
                [rng.randrange(SIZES["vocab_size"]) for _ in range(PROMPT)] for _ in range(batch)
            ]
            speeds[batch] = {}
            for kind, how in kinds_of(bf16, int4, arguments.only).items():
                speed = ours(
                    **how,
                    prompts=prompts[batch],
                    new=NEW,
                    threads=arguments.threads,
                    repeats=arguments.repeats,
                )
                speeds[batch][kind] = speed
                print(f"{kind} batch {batch}: {speed}", flush=True)
        if arguments.only in (None, "llama"):
            against_llama(speeds, folder, arguments.threads, arguments.small)
        if arguments.only in (None, "transformers"):
            against_transformers(bf16, prompts, speeds, arguments.small)
        if arguments.only is None:
            against_no_cache(bf16, rng, arguments.threads, arguments.small)


if __name__ == "__main__":
    main()
