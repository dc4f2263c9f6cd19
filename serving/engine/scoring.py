"""Packs continuations behind their shared context into one row per forward.

The context is computed once, into the cache; each continuation sees the context and itself,
and takes the positions it would have alone. Its last token predicts nothing and is not
computed: options of one token all come from the context's last hidden state. A row holds up
to ``PACK_TOKENS`` tokens: attention over a row is dense, so longer rows would cost more than
they save.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from contracts.engine import Scored

PACK_TOKENS = 512


@dataclass
class Pack:
    """One row of continuations."""

    context_length: int
    continuations: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Tokens that the row computes."""
        return sum(max(len(c) - 1, 0) for c in self.continuations)

    def ids(self) -> list[int]:
        """Token ids of the row."""
        return [t for c in self.continuations for t in c[:-1]]

    def positions(self) -> list[int]:
        """Position of each token, as if its continuation stood alone."""
        start = self.context_length
        return [start + i for c in self.continuations for i in range(len(c) - 1)]

    def lengths(self) -> list[int]:
        """How long the text counts that each token is of: up to the token behind a context, and
        without one the whole continuation, a prompt of its own.
        """
        if self.context_length:
            return [position + 1 for position in self.positions()]
        return [len(c) for c in self.continuations for _ in c[:-1]]

    def targets(self) -> list[tuple[int, int]]:
        """``(predicting row, predicted token)``, continuation by continuation.

        Where there is a context, row 0 is its last token and the pack's own come after.
        """
        pairs = []
        row = 1 if self.context_length else 0
        for continuation in self.continuations:
            if continuation and self.context_length:
                pairs.append((0, continuation[0]))
            pairs += [(row + i, token) for i, token in enumerate(continuation[1:])]
            row += max(len(continuation) - 1, 0)
        return pairs

    def mask(self, device: torch.device) -> torch.Tensor | None:
        """True where a row may look, (tokens, context + tokens); None where plainly causal."""
        lengths = [len(c) - 1 for c in self.continuations if len(c) > 1]
        if len(lengths) <= 1 and not self.context_length:
            return None
        segment = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        own = (segment[:, None] == segment[None, :]).tril()
        context = torch.ones(len(segment), self.context_length, dtype=torch.bool)
        return torch.cat((context, own), dim=1).to(device)

    def scored(self, logprobs: list[float], greedy: list[bool]) -> list[Scored]:
        """Cut the targets' log-probs into one result per continuation."""
        results = []
        for continuation in self.continuations:
            size = len(continuation) if self.context_length else max(len(continuation) - 1, 0)
            results.append(Scored(tuple(logprobs[:size]), all(greedy[:size])))
            logprobs, greedy = logprobs[size:], greedy[size:]
        return results


def packs(context_length: int, continuations: Sequence[Sequence[int]]) -> Iterator[Pack]:
    """Cut continuations, in order, into rows. Depends on nothing but its arguments."""
    pack = Pack(context_length)
    for continuation in continuations:
        if pack.continuations and pack.tokens + len(continuation) - 1 > PACK_TOKENS:
            yield pack
            pack = Pack(context_length)
        pack.continuations.append(tuple(continuation))
    if pack.continuations:
        yield pack
