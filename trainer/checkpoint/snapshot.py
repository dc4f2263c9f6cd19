"""The state of one step, read by a writer while training goes on.

Weights and moments change in the optimiser's step only. Until the next one the writer reads the
live tensors themselves; what it has not read by then is copied right before they change. So a
checkpoint that is written within a step costs no copy and no memory, and none ever mixes two steps.
"""

import threading
from collections.abc import Iterator
from itertools import chain
from mmap import PAGESIZE
from typing import Any

import torch

from trainer.parallel.aligned import aligned_empty
from trainer.parallel.fragments import Fragment

_BATCH = 1 << 21
"""Elements read at a time, 8 MiB: a disk takes few large writes faster than many small ones."""

_Run = tuple[int, int, int]
"""Number of a fragment, first element, element after the last."""


class Snapshot:
    """Fragments as they are at one step. Taken again and again, one writer at a time."""

    def __init__(self) -> None:
        self.fragments: list[Fragment] = []
        """What was taken: names, places and sizes hold, their values may have changed since."""
        self._sources: list[torch.Tensor] = []
        self._batches: list[list[_Run]] = []
        self._buffers: dict[str, torch.Tensor] = {}
        self._turn = threading.Condition()
        self._live = False
        self._reading = -1
        """The batch that is being read."""
        self._copies: Any = None
        """The CUDA stream that copies, where the state lies on a GPU."""

    def take(self, fragments: list[Fragment]) -> None:
        """Begin with the live ``fragments``; the ones before must have been released.

        Those of whole pages come first: a file's direct writes take no others as they are.
        """
        fragments = sorted(fragments, key=lambda fragment: fragment.values.nbytes % PAGESIZE > 0)
        self.fragments = fragments
        self._sources = [self._on_host(fragment) for fragment in fragments]
        self._batches = _batches([fragment.values.numel() for fragment in fragments])
        self._reading, self._live = -1, True

    def batches(self) -> Iterator[list[memoryview]]:
        """The bytes of all fragments in order; a batch holds until the next is asked for."""
        if self._copies is not None:
            self._copies.synchronize()
        for number, batch in enumerate(self._batches):
            with self._turn:
                self._reading = number
                self._turn.notify()
                runs = [self._sources[which][first:last] for which, first, last in batch]
            yield [memoryview(run.view(torch.uint8).numpy().data) for run in runs]
        with self._turn:
            self._live = False
            self._turn.notify()

    def before_change(self) -> None:
        """Copy what is not read yet, and wait for the batch that is: then the state may change."""
        if self._copies is not None:
            torch.cuda.current_stream().wait_stream(self._copies)
        with self._turn:
            if not self._live:
                return
            reading = self._reading
            self._detach(reading + 1)
            if reading >= 0:
                self._turn.wait_for(lambda: self._reading != reading or not self._live)
            self._live = False

    def release(self) -> None:
        """The writer has read all, or gave up."""
        with self._turn:
            self._live = False
            self.fragments, self._sources, self._batches = [], [], []
            self._turn.notify()

    def _detach(self, number: int) -> None:
        """Copy the batches from this one on."""
        live = list(self._sources)
        for which, first, last in chain.from_iterable(self._batches[number:]):
            buffer = self._buffer(self.fragments[which])
            if buffer is not live[which]:
                buffer[first:last].copy_(live[which][first:last])
                self._sources[which] = buffer

    def _on_host(self, fragment: Fragment) -> torch.Tensor:
        """The live values; from a GPU, a copy that its own stream makes meanwhile."""
        values = fragment.values
        assert values.dtype == torch.float32
        if values.device.type == "cpu":
            return values.contiguous()
        if self._copies is None:
            self._copies = torch.cuda.Stream()
        self._copies.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._copies):
            return self._buffer(fragment).copy_(values, non_blocking=True)

    def _buffer(self, fragment: Fragment) -> torch.Tensor:
        """Memory that is used again: fresh pages cost more than the copy."""
        buffer, shape = self._buffers.get(fragment.key), fragment.values.shape
        if buffer is None or buffer.shape != shape:
            device = fragment.values.device
            if device.type == "cpu":
                (buffer,) = aligned_empty([shape], device)
            else:
                buffer = torch.empty(shape, dtype=torch.float32, pin_memory=True)
            self._buffers[fragment.key] = buffer
        return buffer


def _batches(sizes: list[int]) -> list[list[_Run]]:
    """Runs of elements in order, together about as large as a batch may be."""
    found: list[list[_Run]] = [[]]
    room = _BATCH
    for which, size in enumerate(sizes):
        first = 0
        while first < size:
            last = min(size, first + room)
            found[-1].append((which, first, last))
            room -= last - first
            first = last
            if not room:
                found.append([])
                room = _BATCH
    return [batch for batch in found if batch]
