"""Peak memory of a prompt, by its length: prefill in chunks keeps it near that of the cache.

python -m benchmarks.serving.long_context [--lengths 50000 100000 200000] [--cache bf16 int8]

Each length runs in a process of its own, over keys and values in bf16 and in 8 bits. What is
kept is the peak over what the process had before the prompt, less the cache itself: what one
chunk of the prompt takes. Its largest part is its mask (and, over 8 bits, a few rows of scores),
chunk x context, so it grows with the length, not with its square; the scores of the whole prompt
at once are told beside it. A model of 2 layers, 2 heads of 32 and YaRN computes 200,000 tokens
in minutes on two cores: attention is 4 x length^2 / 2 x 64 x 2 = 10 TFLOP, 32 heads
of 128 in 32 layers take 1,000 times as long.
"""

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import keep

GOAL_MIB = 1024
VOCABULARY = 512
HEADS = 2


def make_model(path: Path, length: int) -> None:
    """A Llama of two small layers with YaRN, for prompts of up to ``length`` tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        max_position_embeddings=length + 64,
        rope_parameters={
            "rope_type": "yarn",
            "factor": (length + 64) / 1024,
            "original_max_position_embeddings": 1024,
            "rope_theta": 10000.0,
        },
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(path)


def measure(length: int, cache_kind: str) -> dict[str, float]:
    """One prompt in this process: peak and cache in MiB, and seconds to the first token.

    Args:
        length: tokens of the prompt.
        cache_kind: ``bf16`` or ``int8``.
    """
    from contracts.engine import EngineRequest, SamplingParams
    from serving.load import load_engine

    async def first_token(engine: Any) -> float:
        rng = random.Random(length)
        prompt = tuple(rng.randrange(VOCABULARY) for _ in range(length))
        started = time.perf_counter()
        async for chunk in engine.submit(EngineRequest("x", prompt, SamplingParams(max_tokens=1))):
            if chunk.error:
                raise SystemExit(chunk.error)
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), length)
        engine: Any = load_engine(
            folder,
            slots=1,
            max_context=length + 32,
            reproducible=False,
            int8_cache=cache_kind == "int8",
        )
        try:
            cache = engine.runner.cache.nbytes / 2**20
            before = psutil.Process().memory_info().rss / 2**20
            seconds = asyncio.run(first_token(engine))
        finally:
            engine.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"peak": peak - before, "cache": cache, "seconds": seconds}


def in_a_process(length: int, cache_kind: str) -> dict[str, float]:
    """``measure`` in a process of its own, which has had no other peak."""
    command = [sys.executable, "-m", "benchmarks.serving.long_context"]
    command += ["--one", str(length), "--cache", cache_kind]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    found["beyond"] = found["peak"] - found["cache"]
    found["all_scores"] = HEADS * length**2 * 4 / 2**20
    return {name: round(value, 1) for name, value in found.items()}


def report(cache_kind: str, rows: dict[int, dict[str, float]]) -> None:
    """Keep what the longest prompt took beyond its cache, and what the shorter ones did."""
    longest = max(rows)
    over = rows[longest]["beyond"]
    keep(
        f"serving-long-context-{cache_kind}",
        what=f"memory of a {longest}-token prompt beyond its {cache_kind} cache, 2 layers of 64",
        ours=round(over),
        unit="MiB",
        peer="scores of the whole prompt at once",
        theirs=round(rows[longest]["all_scores"]),
        ratio=round(over / rows[longest]["all_scores"], 5),
        goal=f"<= {GOAL_MIB} MiB",
        met=over <= GOAL_MIB,
        by_length=rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[50000, 100000, 200000])
    parser.add_argument("--cache", nargs="+", choices=["bf16", "int8"], default=["bf16", "int8"])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.cache[0])))
        return
    for cache_kind in arguments.cache:
        rows = {}
        for length in arguments.lengths:
            rows[length] = found = in_a_process(length, cache_kind)
            print(
                f"{length:7d} tokens, {cache_kind}: {found['beyond']:.0f} MiB beyond a cache of "
                f"{found['cache']:.0f}; first token after {found['seconds']:.1f} s",
                flush=True,
            )
        report(cache_kind, rows)


if __name__ == "__main__":
    main()
