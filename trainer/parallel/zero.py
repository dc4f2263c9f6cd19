"""A step by many processes with DeepSpeed ZeRO (arXiv:1910.02054).

bf16 weights, fp32 master weights and moments sharded over the ranks, gradients summed
in fp32. Runs on CPUs over gloo; nothing is compiled.
"""

import logging
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from trainer.config import OptimiserConfig, ParallelConfig
from trainer.data.rows import Batch
from trainer.parallel.stepper import make_optimiser

_TAG = "state"


class ZeroStepper:
    """One rank of a DeepSpeed engine. Needs torch.distributed initialised."""

    def __init__(
        self,
        module: nn.Module,
        optimiser: OptimiserConfig,
        parallel: ParallelConfig,
        rows_per_pass: int,
        micro_steps: int,
    ) -> None:
        """Build the engine; it expects ``micro_steps`` passes of ``rows_per_pass`` a step."""
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self._module = module
        self._engine = _engine(module, optimiser, parallel, rows_per_pass, micro_steps)

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of a batch."""
        return self._engine(batch)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of this rank's share; the ranks are summed in the last one.

        DeepSpeed averages over ranks and over accumulation steps. The loss is a share of
        a global mean already, so the first is undone and the second switched off.
        """
        self._engine.backward(loss * self.world_size, scale_wrt_gas=False)
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()

    def step(self, lr: float) -> float:
        """Clip, step the shards, gather the rounded weights."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr
        self._engine.step()
        return float(self._engine.get_global_grad_norm())

    def train(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        self._engine.train(mode)

    def total(self, values: list[float]) -> list[float]:
        """Element-wise sum over the ranks."""
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def share(self, value: Any) -> Any:
        """Rank 0's value, at every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def save(self, directory: Path) -> None:
        """Write the engine's checkpoint: weights by rank 0, a shard of the rest by each."""
        self._engine.save_checkpoint(str(directory), tag=_TAG, save_latest=False)

    def load(self, directory: Path) -> None:
        """Read the engine's checkpoint. It is pickled: the caller has checked its hashes."""
        path, _ = self._engine.load_checkpoint(str(directory), tag=_TAG)
        if path is None:
            raise RuntimeError(f"{directory}: DeepSpeed found no checkpoint in it")

    def weights(self) -> dict[str, torch.Tensor]:
        """The bf16 weights by name."""
        return dict(self._module.model.state_dict())  # type: ignore[union-attr]


def _engine(
    module: nn.Module,
    optimiser: OptimiserConfig,
    parallel: ParallelConfig,
    rows_per_pass: int,
    micro_steps: int,
) -> Any:
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    import deepspeed.ops

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    # By default every op is probed with the compiler, and shared-memory collectives are
    # compiled at their first use. gloo needs none of them.
    deepspeed.ops.__compatible_ops__ = {}
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    engine, *_ = deepspeed.initialize(
        model=module,
        optimizer=make_optimiser(named, optimiser),
        config={
            "train_micro_batch_size_per_gpu": rows_per_pass,
            "gradient_accumulation_steps": micro_steps,
            "bf16": {"enabled": True},
            "data_types": {"grad_accum_dtype": "fp32"},
            "zero_optimization": {"stage": parallel.zero_stage},
            "zero_allow_untested_optimizer": True,
            "gradient_clipping": optimiser.grad_clip,
        },
    )
    return engine
