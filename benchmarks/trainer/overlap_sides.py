"""The ways to sum gradients that the overlap benchmark compares; each takes a whole step."""

import time
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trainer.config import OptimiserConfig
from trainer.data.rows import Batch
from trainer.parallel.beside import SideThread
from trainer.parallel.hierarchical import HierarchicalStepper
from trainer.parallel.optimiser import adamw

LR = 1e-4


class Side(Protocol):
    """A way to take a step."""

    gradients_in: float
    """When the last gradient of the last step had been computed, on the clock."""

    def step(self, batch: Batch) -> None:
        """Forward, backward, reduce, clip, update."""
        ...


class Ours:
    """Sharding in groups; reduces in buckets, or after the backward pass in one of all."""

    def __init__(self, module: nn.Module, group: int, bucket_bytes: int) -> None:
        self.gradients_in = 0.0
        self._stepper = HierarchicalStepper(
            module,
            OptimiserConfig(),
            shard_group=group,
            bucket_bytes=bucket_bytes,
            precision="fp32",
        )
        self._stepper.train(True)

    def step(self, batch: Batch) -> None:
        """One pass and the optimiser's step."""
        self._stepper.backward(self._stepper.loss(batch) / 1000, last=True)
        self.gradients_in = time.perf_counter()
        self._stepper.step(LR)


class Ddp:
    """torch's DistributedDataParallel with fused AdamW over everything."""

    def __init__(self, module: nn.Module, bucket_bytes: int, hooked: bool) -> None:
        """Reduce by torch itself, or by a hook that calls ``dist.all_reduce`` in a thread."""
        self.gradients_in = 0.0
        module.train(True)
        self._module: Any = DistributedDataParallel(module, bucket_cap_mb=bucket_bytes / 2**20)
        if hooked:
            self._beside = SideThread()
            self._module.register_comm_hook(None, self._reduce)
        parameters = list(module.parameters())
        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(self._came)
        config = OptimiserConfig()
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._parameters, self._clip = parameters, config.grad_clip
        self._optimiser = adamw(groups, config)
        for group in self._optimiser.param_groups:
            group["lr"] = LR

    def step(self, batch: Batch) -> None:
        """One pass and the optimiser's step."""
        (self._module(batch) * (dist.get_world_size() / 1000)).backward()
        nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._optimiser.step()
        self._optimiser.zero_grad()

    def _came(self, _: torch.Tensor) -> None:
        self.gradients_in = time.perf_counter()

    def _reduce(self, _: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        values = bucket.buffer()

        def job() -> None:
            dist.all_reduce(values)
            done.set_result(values.div_(dist.get_world_size()))

        self._beside.submit(job)
        return done
