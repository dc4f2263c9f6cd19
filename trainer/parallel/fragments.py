"""Training state as fragments of named parameters: the same for every way to shard it.

Whatever a stepper shards (flat buckets, parameter by parameter, or nothing), each rank
holds runs of elements of the fp32 weights and of AdamW's two moments. Saved under the
parameter's name and first element, they can be read back by any number of ranks with
any other sharding: each takes the runs that it holds itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from blake3 import blake3

KINDS = ("master", "exp_avg", "exp_avg_sq")
"""fp32 weights, and AdamW's first and second moment."""


@dataclass(frozen=True)
class Fragment:
    """A run of elements of one parameter's state, in the live memory of this rank."""

    kind: str
    parameter: str
    start: int
    """First element, in the flattened parameter."""
    values: torch.Tensor
    """(elements,) fp32; loading writes into it."""

    @property
    def key(self) -> str:
        """Name of the fragment in a shard file."""
        return f"{self.kind}/{self.parameter}/{self.start}"

    @property
    def stop(self) -> int:
        """First element after the run."""
        return self.start + self.values.numel()


def part_of(fragments: Iterable[Fragment], index: int, count: int) -> list[Fragment]:
    """The ``index``-th of ``count`` equal parts of every fragment; empty parts are left out.

    Ranks that hold the same state share the work of writing it.
    """
    parts = []
    for fragment in fragments:
        size = fragment.values.numel()
        first, last = size * index // count, size * (index + 1) // count
        if last > first:
            values = fragment.values[first:last]
            parts.append(
                Fragment(fragment.kind, fragment.parameter, fragment.start + first, values)
            )
    return parts


def parse_key(key: str) -> tuple[str, str, int]:
    """Kind, parameter and first element that a key stands for."""
    kind, rest = key.split("/", 1)
    parameter, start = rest.rsplit("/", 1)
    return kind, parameter, int(start)


def shapes_digest(shapes: dict[str, tuple[int, ...]]) -> str:
    """What a model looks like from outside: blake3 over its parameters' names and shapes."""
    text = "\n".join(f"{name} {tuple(shapes[name])}" for name in sorted(shapes))
    return blake3(text.encode()).hexdigest()
