"""Measures a quantised model directory beside the original, one engine after the other."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from contracts.engine import Engine
from serving.directory import read_config
from serving.load import load_engine, load_model
from serving.quant.measure.memory import (
    Capacity,
    cache_capacity,
    copy_bytes,
    disk_bytes,
    weight_bytes,
)
from serving.quant.measure.quality import (
    Agreement,
    Perplexity,
    agreement,
    continuations,
    perplexity,
)
from serving.quant.measure.speed import (
    BATCHES,
    NEW_TOKENS,
    PROMPT_TOKENS,
    KernelTimes,
    choose_dense_rows,
    decode_speed,
    first_layer,
    time_kernels,
)

Result = TypeVar("Result")
Tick = Callable[[str], None]
"""Called after each step, with what it belongs to."""


def count_steps(windows: int) -> int:
    """How often ``measure`` calls ``tick`` over so many windows of text."""
    return 2 + 2 * (windows + 2) + windows


@dataclass(frozen=True)
class Memory:
    """Bytes of weights."""

    loaded: int
    disk: int
    copy: int = 0
    """What bf16 copies would add."""


@dataclass(frozen=True)
class Side:
    """One model directory, run one way."""

    perplexity: Perplexity | None
    """As engines run it by default: with copies, where they pay."""
    speed: dict[int, float]
    """Decode tokens per second by batch, without copies."""


@dataclass(frozen=True)
class Measured:
    """Everything that is told of a quantised model."""

    original: Side
    quantised: Side
    with_copy: dict[int, float] | None
    """Speeds with copies from ``dense_rows`` on; None where they do not pay."""
    kv8: Perplexity | None
    """Of the original weights over keys and values in 8 bits."""
    agreement: Agreement | None
    memory: tuple[Memory, Memory]
    capacity: Capacity
    kernels: list[KernelTimes]
    dense_rows: int | None


def measure(
    original: Path,
    quantised: Path,
    windows: list[list[int]],
    tick: Tick,
    threads: int | None = None,
    may_copy: bool = True,
) -> Measured:
    """Load each in turn, so that no two models are in memory at once.

    Args:
        original: model directory in bf16 or wider.
        quantised: model directory.
        windows: held-out text, windows of one length; without any, quality is not measured.
        tick: called ``count_steps`` times.
        threads: torch threads.
        may_copy: whether bf16 copies are considered.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    run = _Runs(windows, threads, tick)
    before, _, capacity = _loaded(original)
    after, kernels, _ = _loaded(quantised)
    rows = choose_dense_rows(kernels) if may_copy else None
    tick("kernels")
    plain, plain_ids = run.all_of(original, "original", 0)
    packed, packed_ids = run.all_of(quantised, "quantised", rows or 0)
    copied = packed.speed if rows else None
    if rows:
        packed = replace(packed, speed=run.speeds(quantised, 0))
    tick("quantised: speed without copies")
    kv8 = run.perplexity_int8(original, "8-bit cache")
    return Measured(
        original=plain,
        quantised=packed,
        with_copy=copied,
        kv8=kv8,
        agreement=agreement(packed_ids, plain_ids) if windows else None,
        memory=(before, after),
        capacity=capacity,
        kernels=kernels,
        dense_rows=rows,
    )


def _loaded(path: Path) -> tuple[Memory, list[KernelTimes], Capacity]:
    model = load_model(path)
    memory = Memory(weight_bytes(model), disk_bytes(path), copy_bytes(model))
    return memory, time_kernels(first_layer(model)), cache_capacity(model.config)


class _Runs:
    """Engines over the same text, closed after each use."""

    def __init__(self, windows: list[list[int]], threads: int | None, tick: Tick) -> None:
        self._windows, self._threads, self._tick = windows, threads, tick

    def all_of(self, path: Path, side: str, rows: int) -> tuple[Side, list[list[int]]]:
        """Quality and speed with copies from so many rows on, and greedy continuations."""

        async def work(engine: Engine) -> tuple[Side, list[list[int]]]:
            found = await self._perplexity(engine, side) if self._windows else None
            ids = await continuations(engine, self._windows)
            self._tick(f"{side}: agreement")
            speeds = await _speeds(engine, path)
            self._tick(f"{side}: speed")
            return Side(found, speeds), ids

        return self._over(path, work, dense_rows=rows)

    def speeds(self, path: Path, rows: int) -> dict[int, float]:
        """Speed with copies from so many rows on; 0 keeps none."""
        return self._over(path, lambda engine: _speeds(engine, path), dense_rows=rows)

    def perplexity_int8(self, path: Path, side: str) -> Perplexity | None:
        """Quality over keys and values in 8 bits."""
        if not self._windows:
            return None
        return self._over(path, lambda engine: self._perplexity(engine, side), int8_cache=True)

    async def _perplexity(self, engine: Engine, side: str) -> Perplexity:
        return await perplexity(engine, self._windows, lambda: self._tick(f"{side}: perplexity"))

    def _over(
        self, path: Path, work: Callable[[Engine], Coroutine[Any, Any, Result]], **options: Any
    ) -> Result:
        need = PROMPT_TOKENS + NEW_TOKENS
        context = max(need, *(len(window) for window in self._windows), 0)
        slots = max(BATCHES)
        engine = load_engine(
            path,
            slots=slots,
            max_context=context,
            cache_tokens=max(slots * need * 2, context),
            threads=self._threads,
            reproducible=False,
            **options,
        )
        try:
            return asyncio.run(work(engine))
        finally:
            engine.close()


async def _speeds(engine: Engine, path: Path) -> dict[int, float]:
    vocab_size = int(read_config(path)["vocab_size"])
    await decode_speed(engine, 1, vocab_size)  # warm-up
    return {batch: await decode_speed(engine, batch, vocab_size) for batch in BATCHES}
