"""Packs continuations behind their shared context into one row per forward.

The context is computed once; each continuation sees the context and itself, and takes
the positions it would have alone. A row holds up to ``PACK_TOKENS`` continuation
tokens: attention over a row is dense, so longer rows would cost more than they save.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

PACK_TOKENS = 512


@dataclass
class Pack:
    """One row: the context, then continuations ``first``, ``first + 1``, ... ."""

    context: tuple[int, ...]
    first: int
    continuations: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Continuation tokens in the row."""
        return sum(len(c) for c in self.continuations)

    def ids(self) -> list[int]:
        """Token ids of the row."""
        return [*self.context, *(t for c in self.continuations for t in c)]

    def positions(self) -> list[int]:
        """Position of each token, as if its continuation stood alone."""
        start = len(self.context)
        return [
            *range(start),
            *(start + i for c in self.continuations for i in range(len(c))),
        ]

    def targets(self) -> list[tuple[int, int]]:
        """``(row of the predicting token, predicted token)``, continuation by continuation."""
        pairs = []
        offset = len(self.context)
        for continuation in self.continuations:
            for i, token in enumerate(continuation):
                if i:
                    pairs.append((offset + i - 1, token))
                elif self.context:
                    pairs.append((len(self.context) - 1, token))
            offset += len(continuation)
        return pairs

    def mask(self) -> torch.Tensor | None:
        """True where a query may look, shape (tokens, tokens); None where plainly causal."""
        if len(self.continuations) == 1:
            return None
        lengths = [len(self.context), *(len(c) for c in self.continuations)]
        segment = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        same = segment[:, None] == segment[None, :]
        return (same | (segment == 0)[None, :]).tril()


def packs(context: Sequence[int], continuations: Sequence[Sequence[int]]) -> Iterator[Pack]:
    """Cut continuations, in order, into rows. Depends on nothing but its arguments."""
    shared = tuple(context)
    pack = Pack(shared, 0)
    for index, continuation in enumerate(continuations):
        if pack.continuations and pack.tokens + len(continuation) > PACK_TOKENS:
            yield pack
            pack = Pack(shared, index)
        pack.continuations.append(tuple(continuation))
    if pack.continuations:
        yield pack
