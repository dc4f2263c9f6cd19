"""Sequence parallelism: ranks hold runs of positions, and heads while they attend.

DeepSpeed-Ulysses (arXiv:2309.14509): before attention an all-to-all turns (all heads,
some positions) into (some heads, all positions), after it another turns them back.
"""

from typing import Any

import torch
import torch.distributed as dist


class SequenceGroup:
    """Neighbouring ranks that hold equal runs of the same line."""

    def __init__(self, group: Any) -> None:
        """Wrap a torch.distributed group."""
        self.group = group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)

    @classmethod
    def make(cls, size: int) -> "SequenceGroup | None":
        """The group of ``size`` neighbours that this rank is in; None for 1. Called by all ranks.

        Raises:
            ValueError: ``size`` does not divide the number of ranks.
        """
        if size == 1:
            return None
        ranks = dist.get_world_size()
        if ranks % size:
            raise ValueError(f"sequence_parallel {size} does not divide {ranks} workers")
        for first in range(0, ranks, size):
            members = list(range(first, first + size))
            group = dist.new_group(members)
            if dist.get_rank() in members:
                mine = group
        return cls(mine)

    def run(self, line: torch.Tensor) -> torch.Tensor:
        """The positions of this rank, out of a (1, positions) tensor."""
        return line.chunk(self.size, dim=1)[self.rank]

    def to_heads(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(1, heads, own positions, width) to (1, own heads, positions, width).

        Key heads that the ranks cannot share out are repeated first.
        """
        heads, key_heads = query.shape[1], key.shape[1]
        if key_heads % self.size:
            # The least repetition that the ranks can share out and that divides the queries.
            repeats = next(
                r
                for r in range(1, heads // key_heads + 1)
                if key_heads * r % self.size == 0 and heads // key_heads % r == 0
            )
            key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        query, key, value = (self._exchange(x, scatter=1, gather=2) for x in (query, key, value))
        return query, key, value

    def to_positions(self, out: torch.Tensor) -> torch.Tensor:
        """(1, positions, own heads, width) to (1, own positions, heads, width)."""
        return self._exchange(out, scatter=1, gather=2)

    def _exchange(self, x: torch.Tensor, scatter: int, gather: int) -> torch.Tensor:
        """Give each rank its part along ``scatter``, put theirs together along ``gather``."""
        parts = torch.stack(x.chunk(self.size, dim=scatter))
        return torch.cat(_AllToAll.apply(parts, self.group).unbind(0), dim=gather)


class _AllToAll(torch.autograd.Function):
    """Part i goes to rank i; the gradient takes the same way back."""

    @staticmethod
    def forward(ctx: Any, parts: torch.Tensor, group: Any) -> torch.Tensor:
        ctx.group = group
        received = torch.empty_like(parts, memory_format=torch.contiguous_format)
        dist.all_to_all_single(received, parts.contiguous(), group=group)
        return received

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (grad,) = grads
        sent = torch.empty_like(grad, memory_format=torch.contiguous_format)
        dist.all_to_all_single(sent, grad.contiguous(), group=ctx.group)
        return sent, None
