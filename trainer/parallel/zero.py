"""A step by many processes with DeepSpeed ZeRO 1, 2 or 3 (arXiv:1910.02054).

Low-precision weights; fp32 master weights and moments sharded over the ranks. Gradients are
summed in fp32 over passes, and travel between ranks in low precision. Nothing is compiled.
"""

import logging
import math
import os
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from trainer.config import OptimiserConfig
from trainer.data.rows import Batch
from trainer.parallel import zero_state
from trainer.parallel.collective import Collective
from trainer.parallel.fragments import Fragment
from trainer.parallel.optimiser import make_optimiser, set_steps_taken, steps_taken
from trainer.parallel.stepper import StepResult

_BUCKET_ELEMENTS = 2**28
"""Of a gradient message: 512 MiB in bf16, as the plan has it."""


class ZeroStepper(Collective):
    """One rank of a DeepSpeed engine. Needs torch.distributed initialised."""

    def __init__(
        self,
        module: nn.Module,
        optimiser: OptimiserConfig,
        *,
        zero_stage: int,
        rows_per_pass: int,
        micro_steps: int,
        precision: str = "bf16",
        offload: bool = False,
    ) -> None:
        """Build the engine; it expects ``micro_steps`` passes of ``rows_per_pass`` a step."""
        super().__init__()
        self.data_rank, self.data_ranks = self.rank, self.world_size
        self._module = module
        self._stage = zero_stage
        self._shapes = {
            name: tuple(p.shape) for name, p in module.named_parameters() if p.requires_grad
        }
        config = _config(zero_stage, rows_per_pass, micro_steps, precision, optimiser.grad_clip)
        elements = sum(math.prod(shape) for shape in self._shapes.values())
        # By default a buffer of a gigabyte is made in every backward pass, however small the model.
        config["zero_optimization"]["reduce_bucket_size"] = min(_BUCKET_ELEMENTS, elements)
        if offload:
            config["zero_optimization"]["offload_optimizer"] = {"device": "cpu"}
            config["zero_force_ds_cpu_optimizer"] = False  # torch's fused AdamW steps on CPUs too
        self._engine = _engine(module, optimiser, config)
        self._zero = self._engine.optimizer
        zero_state.prepare(self._zero, zero_stage)
        scaler: Any = getattr(self._zero, "loss_scaler", None)
        if scaler is not None and getattr(scaler, "dynamic", False):
            # An overflow at the smallest scale is a bad step, which the loop knows to handle.
            scaler.raise_error_at_min_scale = False

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of a batch."""
        return self._engine(batch)

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Add the gradient of this rank's share; the ranks are summed in the last one.

        DeepSpeed counts the passes itself. It averages over ranks and over accumulation steps.
        The loss is a share of a global mean already, so the first is undone and the second
        switched off.
        """
        self._engine.backward(loss * self.world_size, scale_wrt_gas=False)
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()

    def step(self, lr: float) -> StepResult:
        """Clip, step the shards, gather the rounded weights."""
        for group in self._zero.param_groups:
            group["lr"] = lr
        before, scale = self._engine.skipped_steps, self._loss_scale()
        self.before_change()
        self._engine.step()
        skipped = self._engine.skipped_steps > before
        norm = float("inf") if skipped else float(self._engine.get_global_grad_norm())
        return StepResult(norm, skipped, scale)

    def discard(self) -> None:
        """Clear the gradients: take the step, then put the state back.

        DeepSpeed has no way to drop reduced gradients that holds for all its stages.
        """
        scalars = self.scalars()
        before = [fragment.values.clone() for fragment in self.held()]
        self.before_change()
        self._engine.step()
        for fragment, values in zip(self.held(), before, strict=True):
            fragment.values.copy_(values)
        self.loaded(scalars)

    def train(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        self._engine.train(mode)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the trained parameters, whole."""
        return self._shapes

    def held(self) -> list[Fragment]:
        """The shard of this rank."""
        return zero_state.fragments(self._zero, self._module, self._stage)

    def owned(self) -> list[Fragment]:
        """The shard of this rank."""
        return self.held()

    def scalars(self) -> dict[str, float]:
        """AdamW's count of steps and the loss scale."""
        return {
            "optimiser_steps": steps_taken(self._zero.optimizer),
            "loss_scale": self._loss_scale(),
        }

    def loaded(self, scalars: dict[str, float]) -> None:
        """Restore the counters and round the weights."""
        set_steps_taken(self._zero.optimizer, scalars["optimiser_steps"])
        scaler = getattr(self._zero, "loss_scaler", None)
        if (
            scaler is not None
            and getattr(scaler, "dynamic", False)
            and scalars.get("loss_scale", 1.0) > 1.0
        ):
            scaler.cur_scale = scalars["loss_scale"]
        zero_state.round_weights(self._zero, self._stage)

    def _loss_scale(self) -> float:
        return float(getattr(self._zero, "loss_scale", 1.0))

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights by name, whole on rank 0."""
        if self._stage < 3:
            return dict(self._module.model.state_dict())  # type: ignore[union-attr]
        model: Any = self._module.model
        return zero_state.gathered_weights(model, keep=self.rank == 0)


def _config(
    stage: int, rows_per_pass: int, micro_steps: int, precision: str, clip: float
) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": rows_per_pass,
        "gradient_accumulation_steps": micro_steps,
        "bf16": {"enabled": precision == "bf16", "check_grad_overflow": True},
        "fp16": {"enabled": precision == "fp16", "initial_scale_power": 16},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "gradient_clipping": clip,
    }


def _engine(module: nn.Module, optimiser: OptimiserConfig, config: dict[str, Any]) -> Any:
    if dist.get_backend() == "gloo":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    import deepspeed.ops

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    # By default every op is probed with the compiler, and shared-memory collectives are
    # compiled at their first use. gloo needs none of them.
    deepspeed.ops.__compatible_ops__ = {}
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    engine, *_ = deepspeed.initialize(
        model=module, optimizer=make_optimiser(named, optimiser), config=config
    )
    return engine
