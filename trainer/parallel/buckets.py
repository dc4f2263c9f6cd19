"""All trained weights in one buffer, cut into buckets whose gradients are reduced one by one."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from trainer.parallel.fragments import Fragment

GRAIN = 32
"""Elements: pieces begin at multiples of 64 bytes in bf16 (NCCL is slower where 16 do not hold)."""
_GRADIENT_BYTES = 4


@dataclass(frozen=True)
class Bucket:
    """A run of the flat buffer: gradients of it travel in one message."""

    start: int
    """First element."""
    stop: int
    """Element after the last; a multiple of the ranks that share the bucket lies between."""
    decayed: bool
    """Whether its elements have weight decay."""
    parameters: tuple[int, ...]
    """Numbers of those that have elements in it."""


class FlatWeights:
    """A flat low-precision buffer of which every parameter is a view, and its gradient.

    Matrices come first, then vectors (norm weights), which have no weight decay; both in the
    reverse order of their definition, about that in which a backward pass gives their gradients.
    """

    def __init__(self, module: nn.Module, shards: int, bucket_bytes: int) -> None:
        """Move the parameters into the buffer.

        Args:
            shards: ranks that share every bucket in equal pieces.
            bucket_bytes: of fp32 gradients in one bucket, at most (but for a grain of each rank's).
        """
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        named = named[::-1]
        named.sort(key=lambda item: item[1].ndim <= 1)  # stable: the order stays otherwise
        self._shards = shards
        self.parameters = [p for _, p in named]
        self.shapes = {name: tuple(p.shape) for name, p in named}
        self._names = list(self.shapes)
        self._places: list[tuple[int, int]] = []
        self.buckets: list[Bucket] = []
        for decayed in (True, False):
            self._lay_out(decayed, bucket_bytes)
        low, size = self.parameters[0], self.buckets[-1].stop
        self.values = torch.zeros(size, dtype=low.dtype, device=low.device)
        """(elements,) in low precision; each kind is padded with zeros to grains of all ranks."""
        self.gradient = torch.zeros_like(self.values, dtype=torch.float32)
        """(elements,) fp32, summed over the micro-batches."""
        for parameter, (first, last) in zip(self.parameters, self._places, strict=True):
            self.values[first:last] = parameter.detach().view(-1)
            parameter.data = self.values[first:last].view(parameter.shape)

    def piece(self, bucket: Bucket, place: int) -> slice:
        """The run of the buffer that the rank in ``place`` of its group holds of a bucket."""
        size = (bucket.stop - bucket.start) // self._shards
        first = bucket.start + place * size
        return slice(first, first + size)

    def collect_gradient(self, number: int) -> None:
        """Add a parameter's gradient to the buffer and clear it."""
        parameter, (first, last) = self.parameters[number], self._places[number]
        if parameter.grad is not None:
            self.gradient[first:last] += parameter.grad.view(-1)
            parameter.grad = None

    def fragments(
        self, kind: str, bucket: Bucket, place: int, values: torch.Tensor
    ) -> Iterator[Fragment]:
        """State of one rank's piece of a bucket as fragments of parameters."""
        run = self.piece(bucket, place)
        for number in bucket.parameters:
            begin, end = self._places[number]
            low, high = max(run.start, begin), min(run.stop, end)
            if high > low:
                part = values[low - run.start : high - run.start]
                yield Fragment(kind, self._names[number], low - begin, part)

    def _lay_out(self, decayed: bool, bucket_bytes: int) -> None:
        """Give the parameters of one kind their places, and cut those into buckets."""
        grain = self._shards * GRAIN
        start = end = self.buckets[-1].stop if self.buckets else 0
        for parameter in self.parameters:
            if (parameter.ndim > 1) is decayed:
                self._places.append((end, end + parameter.numel()))
                end += parameter.numel()
        end += -end % grain
        size = max(1, bucket_bytes // (grain * _GRADIENT_BYTES)) * grain
        for first in range(start, end, size):
            last = min(first + size, end)
            inside = [n for n, (a, b) in enumerate(self._places) if a < last and b > first]
            self.buckets.append(Bucket(first, last, decayed, tuple(inside)))
