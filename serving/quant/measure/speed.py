"""Decode speed through an engine, and which kernel is the faster at how many rows."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from contracts.engine import Engine, EngineError, EngineRequest, SamplingParams
from serving.quant.linear import Int4Linear

BATCHES = (1, 8, 64)
ROWS = (1, 2, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
PROMPT_TOKENS, NEW_TOKENS = 32, 17
_GAIN = 1.1
"""A copy must be so many times as fast to be worth its memory."""
_RUNS = 2
_SECONDS = 0.02
"""Least time over which one kernel is timed."""


async def decode_speed(engine: Engine, batch: int, vocab_size: int) -> float:
    """Tokens per second of ``batch`` requests together, after each has its first token.

    The best of some runs, as other work on the machine only ever slows one down.

    Raises:
        EngineError: a request failed.
    """
    return max([await _one_run(engine, batch, vocab_size) for _ in range(_RUNS)])


async def _one_run(engine: Engine, batch: int, vocab_size: int) -> float:
    firsts: list[float] = []
    sampling = SamplingParams(max_tokens=NEW_TOKENS)

    async def one(index: int) -> None:
        # Prompts that share no beginning, spread over the vocabulary.
        start = index * 104729
        prompt = tuple((start + 7919 * i) % vocab_size for i in range(PROMPT_TOKENS))
        started = False
        async for chunk in engine.submit(EngineRequest(f"speed-{index}", prompt, sampling)):
            if chunk.error is not None:
                raise EngineError(chunk.error)
            if not started:
                firsts.append(time.perf_counter())
                started = True

    await asyncio.gather(*(one(index) for index in range(batch)))
    return batch * (NEW_TOKENS - 1) / (time.perf_counter() - max(firsts))


@dataclass(frozen=True)
class KernelTimes:
    """Milliseconds that the packed layers of one decoder layer take, by rows of activations."""

    rows: int
    packed: float
    """As the layers multiply without a copy: the 4-bit kernel, or unpacking at each call."""
    dense: float
    """With 8-bit copies of the weights."""


def first_layer(model: nn.Module) -> list[nn.Module]:
    """The 4-bit modules of a model's first decoder layer, whatever the family calls it."""
    names = {n: m for n, m in model.named_modules() if isinstance(m, Int4Linear)}
    if not names:
        return []
    parts = next(iter(names)).split(".")
    depth = next((i for i, part in enumerate(parts) if part.isdigit()), -1)
    prefix = ".".join([*parts[: depth + 1], ""])
    return [module for name, module in names.items() if name.startswith(prefix)]


@torch.inference_mode()
def time_kernels(layers: Sequence[nn.Module]) -> list[KernelTimes]:
    """Time 4-bit layers against 8-bit copies of their weights."""
    packed = [layer for layer in layers if isinstance(layer, Int4Linear)]
    copies = [layer.copy(8) for layer in packed]
    found = []
    for rows in ROWS if packed else ():
        inputs = [torch.randn(rows, layer.in_features).bfloat16() for layer in packed]

        def by_code(inputs: list[torch.Tensor] = inputs) -> None:
            for layer, x in zip(packed, inputs, strict=True):
                layer(x)

        def by_copy(inputs: list[torch.Tensor] = inputs) -> None:
            for copy, x in zip(copies, inputs, strict=True):
                copy(x)

        found.append(KernelTimes(rows, _milliseconds(by_code), _milliseconds(by_copy)))
    return found


def choose_dense_rows(times: Sequence[KernelTimes]) -> int | None:
    """Fewest rows from which copies pay at every count that was timed; None for none."""
    chosen = None
    for found in sorted(times, key=lambda t: -t.rows):
        if found.packed < _GAIN * found.dense:
            break
        chosen = found.rows
    return chosen


def _milliseconds(work: Callable[[], None]) -> float:
    """Best of some rounds, each long enough for the clock."""
    work()
    best = float("inf")
    for _ in range(3):
        count, started = 0, time.perf_counter()
        while count < 1 or time.perf_counter() - started < _SECONDS:
            work()
            count += 1
        best = min(best, (time.perf_counter() - started) / count)
    return 1000 * best
