"""Where ranks train: on the GPUs that are there, or on the CPU."""

from typing import TYPE_CHECKING

from clusters.config import ConfigError
from trainer.config import ParallelConfig

if TYPE_CHECKING:
    import torch


def rank_device(parallel: ParallelConfig) -> "torch.device":
    """The device of this rank's model: the collectives', or this one process's own.

    Raises:
        ConfigError: a GPU is asked for and torch sees none.
    """
    import torch
    import torch.distributed as dist

    if dist.is_initialized():
        from trainer.parallel.collective import device

        return device()
    seen = torch.cuda.is_available()
    if parallel.device == "cuda" and not seen:
        raise ConfigError(
            "parallel.device: cuda, but torch sees no GPU here; set parallel.device to cpu, or "
            "install torch's build for GPUs"
        )
    return torch.device("cuda" if seen and parallel.device != "cpu" else "cpu")


def on_gpus(parallel: ParallelConfig, gpus: float) -> bool:
    """Whether the workers of a cluster that has ``gpus`` GPUs take one each.

    Raises:
        ConfigError: there are some, but fewer than workers.
    """
    fewest = parallel.min_workers or parallel.workers
    if parallel.device == "cpu" or (parallel.device == "auto" and not gpus):
        return False
    if gpus < fewest:
        raise ConfigError(
            f"parallel.workers: {fewest} workers need a GPU each, the cluster has {gpus:g}; lower "
            "parallel.workers, or set parallel.device to cpu"
        )
    return True
