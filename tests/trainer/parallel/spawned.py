"""Runs a function on real ranks over gloo: one process each."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def spawn(ranks: int, function: Callable[..., None], *arguments: Any) -> None:
    """Call ``function(*arguments)`` on every rank; raises what one of them raises."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (ranks, folder, function, arguments), nprocs=ranks)


def _rank(
    rank: int, ranks: int, folder: str, function: Callable[..., None], arguments: tuple
) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks))
    place = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=ranks)
    function(*arguments)
    dist.barrier()
    dist.destroy_process_group()
