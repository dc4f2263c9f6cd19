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


def device() -> torch.device:
    """Where the collectives' tensors must lie: the GPU under NCCL, else the CPU."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
