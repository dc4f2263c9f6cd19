"""Carries chunks from the engine's thread to the event loops that wait for them."""

import asyncio
from collections import defaultdict

from contracts.engine import TokenChunk


class Stream:
    """Where one request's chunks arrive. Made inside a running event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[TokenChunk] = asyncio.Queue()


def deliver(batch: list[tuple[Stream, TokenChunk]]) -> list[str]:
    """Hand chunks over, waking each event loop once; called from the engine's thread.

    Returns the ids of requests whose loop has closed: nobody waits for them any more.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Stream, TokenChunk]]] = defaultdict(list)
    for stream, chunk in batch:
        by_loop[stream.loop].append((stream, chunk))
    orphans = []
    for loop, items in by_loop.items():
        try:
            loop.call_soon_threadsafe(_put, items)
        except RuntimeError:
            orphans += [chunk.request_id for _, chunk in items]
    return orphans


def _put(items: list[tuple[Stream, TokenChunk]]) -> None:
    for stream, chunk in items:
        stream.queue.put_nowait(chunk)
