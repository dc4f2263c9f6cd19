"""The paged engine on one GPU: share of the memory roofline, 4-bit weights, large batches.

Random weights of a 7B Llama shape, made on the device; nothing is downloaded. Needs torch with
CUDA, Triton, transformers, pydantic, blake3 and llguidance; neither Ray nor DeepSpeed.

    python -m benchmarks.gpu.engine
    python -m benchmarks.gpu.engine --small --device cpu     # a try on a CPU

The roof is that of ``serving.bench.roofline``: a step reads every weight it multiplies with and
its rows' keys and values, at the speed of a large copy measured in the same run.
"""

import argparse
import asyncio
import gc
import random
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.gpu.models import SHAPES, open_engine, pack, random_model
from benchmarks.report import keep
from contracts.engine import EngineRequest, SamplingParams
from serving.bench.roofline import Roofline, roofline
from serving.engine.engine import PagedEngine

PROMPT, NEW, BATCH = 128, 256, 64
GROUP = 128
ROOF_GOAL, INT4_GOAL, BATCH_GOAL = 0.7, 2.0, 3.0


@dataclass(frozen=True)
class Speed:
    """One run."""

    decode: float
    """Tokens per second of the steps that only decoded."""
    whole: float
    """New tokens over the time from the first prompt to the last token."""
    roof: Roofline


async def generate(engine: PagedEngine, prompts: list[list[int]], new: int) -> None:
    """Greedy continuations of some prompts, together."""

    async def one(index: int, prompt: list[int]) -> None:
        request = EngineRequest(str(index), tuple(prompt), SamplingParams(max_tokens=new))
        async for chunk in engine.submit(request):
            if chunk.error is not None:
                raise RuntimeError(chunk.error)

    await asyncio.gather(*(one(i, prompt) for i, prompt in enumerate(prompts)))


def prompts_of(batch: int, length: int, vocabulary: int, seed: int) -> list[list[int]]:
    """Random prompts; another seed shares no beginning."""
    rng = random.Random(seed)
    return [[rng.randrange(vocabulary) for _ in range(length)] for _ in range(batch)]


def measure(model: Any, batch: int, prompt: int, new: int, repeats: int, graphs: bool) -> Speed:
    """The fastest of some runs, after one to warm up."""
    engine = open_engine(model, batch, prompt + new, graphs=graphs)
    vocabulary: int = model.config.vocab_size
    best = None
    try:
        asyncio.run(generate(engine, prompts_of(batch, prompt, vocabulary, 0), 8))
        for repeat in range(repeats):
            before, started = engine.decoding, time.perf_counter()
            asyncio.run(generate(engine, prompts_of(batch, prompt, vocabulary, repeat + 1), new))
            seconds = time.perf_counter() - started
            steps = engine.decoding.since(before)
            roof = roofline(model, steps, engine.runner.place_bytes, None, 16)
            if roof is None:
                raise RuntimeError("no step did nothing but decode")
            speed = Speed(steps.rows / steps.seconds, batch * new / seconds, roof)
            best = speed if best is None or speed.decode > best.decode else best
    finally:
        engine.close()
        del engine
        _free()
    if best is None:
        raise ValueError("at least one run is needed")
    return best


def transformers_continuous(model: Any, batch: int, prompt: int, new: int, repeats: int) -> float:
    """New tokens per second of transformers' own continuous batching, over the same weights."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    model.set_attn_implementation("sdpa")
    asked = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=-1, pad_token_id=0)
    blocks = batch * -(-(prompt + new) // 256) + 8
    cache = ContinuousBatchingConfig(page_size=256, num_blocks=blocks, max_batch_tokens=2048)
    best = 0.0
    for repeat in range(repeats + 1):
        prompts = prompts_of(batch, prompt, model.config.vocab_size, 100 + repeat)
        started = time.perf_counter()
        model.generate_batch(prompts, generation_config=asked, continuous_batching_config=cache)
        if repeat:
            best = max(best, batch * new / (time.perf_counter() - started))
    _free()
    return best


def beside(model: Any, batch: int, prompt: int, new: int, repeats: int) -> float | None:
    """``transformers_continuous``, or None where it fails: what comes after is measured still."""
    try:
        return transformers_continuous(model, batch, prompt, new, repeats)
    except Exception as error:
        # Another version of transformers, or its cache has no room: none of our figures.
        print(f"batch: transformers: {type(error).__name__}: {error}", flush=True)
    _free()
    return None


def _free() -> None:
    """Give back the memory of an engine or a cache: graphs hold what holds them."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def report(
    name: str, gpu: str | None, ratio: float, goal: float, what: str, speed: Speed, **rest: Any
) -> None:
    """Keep one comparison; on a CPU, print it."""
    print(f"{name}: {ratio:.2f} (goal {goal}); {speed.decode:.1f} tokens/s {rest}", flush=True)
    if gpu is None:
        return
    keep(
        f"gpu-engine-{name}",
        what=f"{what}, one {gpu}",
        unit="tokens/s",
        ratio=round(ratio, 3),
        goal=f">= {goal}",
        met=ratio >= goal,
        device=gpu,
        roofline=asdict(speed.roof),
        **rest,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="7b", choices=SHAPES)
    parser.add_argument("--small", action="store_true", help="a tiny model and short runs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-graphs", action="store_true", help="without CUDA graphs")
    parser.add_argument("--no-peer", action="store_true", help="without transformers' batching")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --small --device cpu tries the script on a CPU")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    shape = "small" if options.small else options.shape
    prompt, new, batch = (16, 8, 4) if options.small else (PROMPT, NEW, BATCH)
    runs = options.repeats, not options.no_graphs
    model = random_model(shape, device, prompt + new)

    one = measure(model, 1, prompt, new, *runs)
    report(
        "roofline", gpu, one.roof.share, ROOF_GOAL,
        f"decode, batch 1, bf16, {shape} shape, share of the memory-bandwidth roof", one,
        ours=round(one.decode, 1), peer="the roof", theirs=round(one.decode / one.roof.share, 1),
    )  # fmt: skip
    many = measure(model, batch, prompt, new, *runs)
    peer = model, batch, prompt, new, options.repeats
    theirs = None if options.no_peer else beside(*peer)
    if theirs is not None:
        report(
            "batch", gpu, many.whole / theirs, BATCH_GOAL,
            f"whole, batch {batch}, bf16, {shape} shape, {prompt} tokens in and {new} out", many,
            ours=round(many.whole, 1), peer="transformers continuous batching (sdpa)",
            theirs=round(theirs, 1),
        )  # fmt: skip
    pack(model, 32 if options.small else GROUP)
    four = measure(model, 1, prompt, new, *runs)
    many = measure(model, batch, prompt, new, *runs)
    report(
        "int4", gpu, four.decode / one.decode, INT4_GOAL,
        f"decode, batch 1, 4-bit weights, {shape} shape", four,
        ours=round(four.decode, 1), peer="itself in bf16", theirs=round(one.decode, 1),
        share_of_roof=round(four.roof.share, 3), batched=round(many.whole, 1),
    )  # fmt: skip


if __name__ == "__main__":
    main()
