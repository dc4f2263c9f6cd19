"""A slow link between ranks, simulated: collectives take as long as their bytes would on it.

Every rank has a link of its own, over which its messages go one after another. The real
collective runs too; what it is faster than the link is slept away, without a core. Times of all
messages are noted.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist

_SMALL = 1 << 12
"""Bytes below which a message (a norm, a barrier) is neither slowed nor noted."""


@dataclass
class Span:
    """A message: when it was asked for and when it had arrived, in the clock's seconds."""

    begin: float
    end: float


@dataclass
class Link:
    """One rank's; use as a context, in which torch.distributed's functions go over it."""

    bytes_per_second: float | None = None
    """None: as fast as it is."""
    spans: list[Span] = field(default_factory=list)
    """Of gradients on their way, since the last ``clear``."""
    _free: float = 0.0
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Link":
        for name, sent in _SENT.items():
            real = getattr(dist, name)
            self._stack.enter_context(patch.object(dist, name, self._slowed(real, sent)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def clear(self) -> None:
        """Forget the spans."""
        self.spans = []

    def _slowed(self, real: Callable[..., Any], sent: Callable[[int, int], float]) -> Any:
        def call(*arguments: Any, group: Any = None, async_op: bool = False, **rest: Any) -> Any:
            values: torch.Tensor = arguments[0]
            if values.nbytes < _SMALL:
                return real(*arguments, group=group, async_op=async_op, **rest)
            begin = time.perf_counter()
            done = begin
            if self.bytes_per_second is not None:
                size = sent(values.nbytes, dist.get_world_size(group))
                done = self._free = max(begin, self._free) + size / self.bytes_per_second
            work = real(*arguments, group=group, async_op=async_op, **rest)
            if async_op:
                return _Late(work, done)
            time.sleep(max(0.0, done - time.perf_counter()))
            self.spans.append(Span(begin, time.perf_counter()))
            return work

        return call


_SENT: dict[str, Callable[[int, int], float]] = {
    "all_reduce": lambda size, ranks: 2 * size * (ranks - 1) / ranks,
    "all_to_all_single": lambda size, ranks: size * (ranks - 1) / ranks,
    "all_gather_into_tensor": lambda size, ranks: size * (ranks - 1) / ranks,
}
"""Bytes that a rank sends at least, by the size of the first argument (Thakur et al. 2005)."""


@dataclass
class _Late:
    """Work that is done when the link has carried it."""

    work: Any
    done: float

    def wait(self) -> None:
        """Return then."""
        self.work.wait()
        time.sleep(max(0.0, self.done - time.perf_counter()))
