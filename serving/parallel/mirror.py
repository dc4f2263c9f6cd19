"""Chunks on their way to another rank, and the sequences that it knows them by.

A rank must see the same sequence in two steps as the same object, as rank 0 does: what it keeps
from step to step follows the same rules there, so that all ranks order their rows alike.
"""

from collections import OrderedDict
from dataclasses import dataclass

from serving.engine.plan import Chunk, Sequence

_REMEMBERED = 4096
"""Sequences a rank knows, the last used; more than any engine runs at once."""


@dataclass(frozen=True)
class ChunkSpec:
    """One chunk: its own tokens, not those of the whole sequence."""

    sequence: int
    """The sequence's number: its arrival."""
    tokens: list[int]
    start: int
    length: int
    """Tokens of the sequence so far."""
    blocks: list[int]
    preemptions: int
    prompt_length: int
    adapter: str | None


def spec_of(chunk: Chunk) -> ChunkSpec:
    """What another rank needs to know of a chunk."""
    sequence = chunk.sequence
    return ChunkSpec(
        sequence.arrival,
        sequence.tokens[chunk.start : chunk.start + chunk.count],
        chunk.start,
        len(sequence.tokens),
        sequence.table.blocks,
        sequence.preemptions,
        sequence.prompt_length,
        sequence.adapter,
    )


class Mirror:
    """The sequences of rank 0, as far as another rank has to do with them."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, Sequence] = OrderedDict()

    def chunk(self, spec: ChunkSpec) -> Chunk:
        """The chunk again. Tokens that this rank never had to compute are 0."""
        sequence = self._known.pop(spec.sequence, None)
        if sequence is None:
            sequence = Sequence(
                "", [], spec.prompt_length, arrival=spec.sequence, adapter=spec.adapter
            )
        self._known[spec.sequence] = sequence
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        sequence.tokens += [0] * (spec.length - len(sequence.tokens))
        sequence.tokens[spec.start : spec.start + len(spec.tokens)] = spec.tokens
        sequence.table.blocks = spec.blocks
        sequence.preemptions = spec.preemptions
        return Chunk(sequence, spec.start, len(spec.tokens))
