"""Peak GPU memory of a 200,000-token prompt of a 7B-class model, beyond weights and cache.

    python -m benchmarks.gpu.long_context
    python -m benchmarks.gpu.long_context --small --device cpu --length 2000   # a try on a CPU

The 8B shape has 8 key heads: 131 KB a token in bf16, 26 GB for 200,000; with --int8-cache 14 GB.
Needs what ``benchmarks.gpu.engine`` needs.
"""

import argparse
import asyncio
import time

import torch

from benchmarks.gpu.engine import generate, prompts_of
from benchmarks.gpu.models import SHAPES, open_engine, random_model
from benchmarks.report import keep

GOAL_GIB = 4.0
NEW = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="8b", choices=SHAPES)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--length", type=int, default=200_000)
    parser.add_argument("--int8-cache", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --small --device cpu tries the script on a CPU")
    context = options.length + NEW
    shape = "small" if options.small else options.shape
    model = random_model(shape, device, context)
    engine = open_engine(model, 1, context, int8_cache=options.int8_cache)
    prompts = prompts_of(1, options.length, model.config.vocab_size, 1)
    before = _allocated(device)
    started = time.perf_counter()
    try:
        asyncio.run(generate(engine, prompts, 1))
        prefill = time.perf_counter() - started
        asyncio.run(generate(engine, prompts, NEW))  # the prompt is in the prefix cache
        decoding = engine.decoding
    finally:
        engine.close()
    over = (_peak(device) - before) / 2**30
    print(f"prefill {prefill:.1f} s, {options.length / prefill:.0f} tokens/s; +{over:.2f} GiB")
    if device.type != "cuda":
        return
    keep(
        "gpu-long-context" + ("-int8" if options.int8_cache else ""),
        what=f"memory of a {options.length}-token prompt beyond weights and cache, {shape} shape, "
        f"one {torch.cuda.get_device_name(device)}",
        ours=round(over, 2),
        unit="GiB",
        peer=None,
        theirs=None,
        ratio=None,
        goal=f"<= {GOAL_GIB}",
        met=over <= GOAL_GIB,
        device=torch.cuda.get_device_name(device),
        cache_gib=round(engine.runner.cache.nbytes / 2**30, 2),
        prefill_tokens_per_second=round(options.length / prefill, 1),
        decode_step_ms=round(1e3 * decoding.seconds / decoding.steps, 2),
    )


def _allocated(device: torch.device) -> float:
    if device.type != "cuda":
        return 0.0
    torch.cuda.reset_peak_memory_stats(device)
    return float(torch.cuda.memory_allocated(device))


def _peak(device: torch.device) -> float:
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else 0.0


if __name__ == "__main__":
    main()
