"""Sends requests when they are due, and notes when each token comes."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from clusters.progress import Task
from serving.bench.targets import Target, TargetError
from serving.bench.workload import Ask

TOGETHER = 1e-4
"""Seconds: tokens that waited for a busy reader are handed over one after the other, in less."""


@dataclass
class Record:
    """What became of one request. Times are seconds after the start of the run."""

    due: float
    """When it arrived; it may have waited for a free place after that."""
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    """When tokens came, and how many."""
    prompt_tokens: int = 0
    error: str | None = None

    def note(self, now: float, tokens: int) -> None:
        """Count tokens that came now; what came within ``TOGETHER`` came at once."""
        if self.arrivals and now - self.arrivals[-1][0] < TOGETHER:
            first, count = self.arrivals[-1]
            self.arrivals[-1] = (first, count + tokens)
        elif tokens > 0:
            self.arrivals.append((now, tokens))

    @property
    def new_tokens(self) -> int:
        """Tokens generated."""
        return sum(count for _, count in self.arrivals)


async def drive(
    target: Target,
    asks: Sequence[Ask],
    times: Sequence[float],
    concurrency: int | None,
    task: Task | None = None,
    name: str = "bench",
) -> list[Record]:
    """Ask everything and wait for every answer.

    Args:
        target: who is asked.
        asks: the requests.
        times: seconds after the start at which each is due.
        concurrency: how many may be under way at once; None sets no limit.
        task: progress to report to.
        name: what the requests' names begin with; each run needs its own.
    """
    started = time.perf_counter()
    places = asyncio.Semaphore(concurrency or len(asks))
    paced = times[-1] > 0

    async def one(index: int) -> Record:
        await asyncio.sleep(max(0.0, times[index] - (time.perf_counter() - started)))
        # Without a rate a request is due when there is a place for it: a client's next turn.
        async with places:
            record = Record(times[index] if paced else time.perf_counter() - started)
            await _follow(target, f"{name}-{index}", asks[index], record, started)
        if task is not None:
            task.advance(note=record.error or "")
        return record

    return list(await asyncio.gather(*(one(index) for index in range(len(asks)))))


async def _follow(target: Target, name: str, ask: Ask, record: Record, started: float) -> None:
    try:
        async for arrival in target.ask(name, ask):
            if arrival.prompt_tokens is not None:
                record.prompt_tokens = arrival.prompt_tokens
            record.note(time.perf_counter() - started, arrival.tokens)
        if not record.arrivals:
            record.error = "the answer had no token"
    except TargetError as error:
        record.error = str(error)
