"""The state of one step, read by a writer while training goes on.

Weights and moments change in the optimiser's step only. Until the next one the writer reads the
live tensors themselves; what it has not read by then is copied right before they change. So a
checkpoint that is written within a step costs no copy and no memory, and none ever mixes two steps.
"""

import threading
from collections.abc import Iterator
from mmap import PAGESIZE
from typing import Any

import torch

from trainer.parallel.aligned import aligned_empty
from trainer.parallel.fragments import Fragment

_PIECE = 1 << 21
"""Elements read at a time, 8 MiB."""


class Snapshot:
    """Fragments as they are at one step. Taken again and again, one writer at a time."""

    def __init__(self) -> None:
        self.fragments: list[Fragment] = []
        """What was taken: names, places and sizes hold, their values may have changed since."""
        self._sources: list[torch.Tensor] = []
        self._buffers: dict[str, torch.Tensor] = {}
        self._turn = threading.Condition()
        self._live = False
        self._reading: tuple[int, int] | None = None
        self._copies: Any = None
        """The CUDA stream that copies, where the state lies on a GPU."""

    def take(self, fragments: list[Fragment]) -> None:
        """Begin with the live ``fragments``; the ones before must have been released.

        Those of whole pages come first: a file's direct writes take no others as they are.
        """
        fragments = sorted(fragments, key=lambda fragment: fragment.values.nbytes % PAGESIZE > 0)
        self.fragments = fragments
        self._sources = [self._on_host(fragment) for fragment in fragments]
        self._reading, self._live = None, True

    def pieces(self) -> Iterator[memoryview]:
        """The bytes of all fragments in order; a piece holds until the next is asked for."""
        if self._copies is not None:
            self._copies.synchronize()
        for number in range(len(self._sources)):
            size = self._sources[number].numel()
            for first in range(0, size, _PIECE):
                with self._turn:
                    self._reading = (number, first)
                    self._turn.notify()
                    values = self._sources[number][first : first + _PIECE]
                yield memoryview(values.view(torch.uint8).numpy().data)
        with self._turn:
            self._live = False
            self._turn.notify()

    def before_change(self) -> None:
        """Copy what is not read yet, and wait for the piece that is: then the state may change."""
        if self._copies is not None:
            torch.cuda.current_stream().wait_stream(self._copies)
        with self._turn:
            if not self._live:
                return
            reading = self._reading
            number, first = reading or (0, -_PIECE)
            self._detach(number, first + _PIECE)
            for later in range(number + 1, len(self._sources)):
                self._detach(later, 0)
            if reading is not None:
                self._turn.wait_for(lambda: self._reading != reading or not self._live)
            self._live = False

    def release(self) -> None:
        """The writer has read all, or gave up."""
        with self._turn:
            self._live = False
            self.fragments, self._sources = [], []
            self._turn.notify()

    def _detach(self, number: int, first: int) -> None:
        source = self._sources[number]
        buffer = self._buffer(self.fragments[number])
        if buffer is not source:
            buffer[first:].copy_(source[first:])
            self._sources[number] = buffer

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
                buffer = aligned_empty(shape, device)
            else:
                buffer = torch.empty(shape, dtype=torch.float32, pin_memory=True)
            self._buffers[fragment.key] = buffer
        return buffer
