"""The processes that share one model, and how they add and join what each has computed.

A group of its own, not torch's global one: several engines, or an engine and a trainer, may
live in one process. gloo on CPUs, over loopback only; NCCL on GPUs.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

TIMEOUT = timedelta(seconds=300)
"""A rank that has not come to a sum by then counts as lost."""


class Group:
    """One rank's side of ``size`` processes. Every rank calls the same methods in order."""

    def __init__(self, meeting: Path, rank: int, size: int, device: torch.device) -> None:
        """Meet the other ranks.

        Args:
            meeting: a file that does not exist yet, in a folder of this user alone.
            rank: which of the ranks this is.
            size: how many there are.
            device: where the tensors lie.
        """
        self.rank, self.size = rank, size
        store = distributed.FileStore(str(meeting), size)
        self._group: Any = (
            _nccl(store, rank, size) if device.type == "cuda" else _gloo(store, rank, size)
        )

    def sum(self, part: torch.Tensor) -> torch.Tensor:
        """The sum of every rank's ``part``, the same bits on all ranks.

        Of two ranks the order of the addends changes no bit. Of more it would, and a reduction
        would order them by place, so that a row's bits depended on where it stands: there all
        parts are gathered and added in the order of the ranks.
        """
        part = part.contiguous()
        if self.size == 2:
            self._group.allreduce([part]).wait()
            return part
        parts = self._all(part)
        total = parts[0]
        for other in parts[1:]:
            total = total + other
        return total

    def join(self, part: torch.Tensor) -> torch.Tensor:
        """Every rank's ``part``, of equal shapes, side by side along the last dimension."""
        return torch.cat(self._all(part.contiguous()), dim=-1)

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        """Rank 0's ``tensor`` on every rank; the others give one of its shape to fill."""
        options = distributed.BroadcastOptions()
        options.rootRank = 0
        tensor = tensor.contiguous()
        self._group.broadcast([tensor], options).wait()
        return tensor

    def _all(self, part: torch.Tensor) -> list[torch.Tensor]:
        parts = [torch.empty_like(part) for _ in range(self.size)]
        self._group.allgather([parts], [part]).wait()
        return parts


def _gloo(store: Any, rank: int, size: int) -> Any:
    gloo: Any = distributed.ProcessGroupGloo
    options = gloo._Options()
    options._devices = [gloo.create_device(hostname="127.0.0.1")]
    options._timeout = TIMEOUT
    return gloo(store, rank, size, options)


def _nccl(store: Any, rank: int, size: int) -> Any:
    options = distributed.ProcessGroupNCCL.Options()
    options._timeout = TIMEOUT
    return distributed.ProcessGroupNCCL(store, rank, size, options)
