"""Peak memory of a prompt, by its length: prefill in chunks keeps it near that of the cache.

python -m benchmarks.serving.long_context [--lengths 25000 50000 100000 200000]

Each length runs in a process of its own. What is kept is the peak over what the process had
before the prompt, less the cache itself; a chunk's attention mask, chunk x context, is the
largest part of it.
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
        num_attention_heads=2,
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


def measure(length: int) -> dict[str, float]:
    """One prompt in this process: peak and cache in MiB, and seconds to the first token."""
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
        engine: Any = load_engine(folder, slots=1, max_context=length + 32, reproducible=False)
        try:
            cache = engine.runner.cache.nbytes / 2**20
            before = psutil.Process().memory_info().rss / 2**20
            seconds = asyncio.run(first_token(engine))
        finally:
            engine.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"peak": peak - before, "cache": cache, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lengths", type=int, nargs="+", default=[25000, 50000, 100000, 200000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    rows = {}
    for length in arguments.lengths:
        command = [sys.executable, "-m", "benchmarks.serving.long_context", "--one", str(length)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows[length] = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{length:7d} tokens: peak +{rows[length]['peak']:.0f} MiB, of which cache "
            f"{rows[length]['cache']:.0f}; first token after {rows[length]['seconds']:.1f} s"
        )
    longest = rows[max(rows)]
    over = longest["peak"] - longest["cache"]
    keep(
        "serving-long-context",
        what=f"memory of a {max(rows)}-token prompt beyond its cache, 2 layers of 64",
        ours=round(over),
        unit="MiB",
        peer=None,
        theirs=None,
        ratio=None,
        goal=f"<= {GOAL_MIB}",
        met=over <= GOAL_MIB,
        by_length=rows,
    )


if __name__ == "__main__":
    main()
