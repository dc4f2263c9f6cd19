"""The collectives that every many-process stepper shares."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from trainer.parallel.stepper import nobody_reads


class Collective:
    """Sums and broadcasts over all ranks of torch.distributed."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self.before_change: Callable[[], None] = nobody_reads

    def total(self, values: list[float]) -> list[float]:
        """Element-wise sum over the ranks, in float64."""
        tensor = torch.tensor(values, dtype=torch.float64, device=device())
        dist.all_reduce(tensor)
        return tensor.tolist()

    def share(self, value: Any) -> Any:
        """Rank 0's value, at every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


class ReduceScatter:
    """Sums tensors over a group in place: of the equal parts of each, a rank gets its own.

    gloo's own reduce-scatter is an all-reduce of a copy: it sends twice as much. Here the parts
    are exchanged, and each rank adds up those that it got.
    """

    def __init__(self, group: Any, most: int) -> None:
        """For fp32 tensors of at most ``most`` elements."""
        self._group = group
        self._ranks, self._place = dist.get_world_size(group), dist.get_rank(group)
        self._most = most
        self._received: torch.Tensor | None = None

    def __call__(self, whole: torch.Tensor) -> torch.Tensor:
        """The own part, which then holds the sum; the other parts hold nothing of use."""
        piece = whole.view(self._ranks, -1)[self._place]
        if self._ranks == 1:
            return piece
        if dist.get_backend(self._group) != "gloo":
            dist.reduce_scatter_tensor(piece, whole, group=self._group)
            return piece
        if self._received is None:
            self._received = torch.empty(self._most, dtype=whole.dtype)
        received = self._received[: len(whole)]
        dist.all_to_all_single(received, whole, group=self._group)
        return torch.sum(received.view(self._ranks, -1), 0, out=piece)


def device() -> torch.device:
    """Where the collectives' tensors must lie: the GPU under NCCL, else the CPU."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
