"""A step by one process in plain torch: low-precision weights, fp32 master weights, which
may lie in the host's memory while the model lies on a GPU.

The reference that the other steppers are tested against.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from trainer.config import OptimiserConfig
from trainer.data.rows import Batch
from trainer.parallel.aligned import aligned_empty
from trainer.parallel.fragments import Fragment
from trainer.parallel.optimiser import (
    make_optimiser,
    materialise,
    set_steps_taken,
    steps_taken,
    whole_fragments,
)
from trainer.parallel.scaler import LossScale
from trainer.parallel.stepper import StepResult, nobody_reads


class PlainStepper:
    """Trains in this process alone, without Ray and without DeepSpeed."""

    rank = data_rank = 0
    world_size = data_ranks = 1

    def __init__(
        self,
        module: nn.Module,
        config: OptimiserConfig,
        precision: str = "bf16",
        offload: bool = False,
    ) -> None:
        """Make the fp32 weights and their optimiser.

        Args:
            offload: keep them and their moments in the host's memory, and step there.
        """
        self.before_change: Callable[[], None] = nobody_reads
        self._module = module
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self._names = [name for name, _ in named]
        self._low = [p for _, p in named]
        self._master = _masters(self._low, offload)
        self._optimiser = make_optimiser(list(zip(self._names, self._master, strict=True)), config)
        materialise(self._optimiser, self._master)
        self._clip = config.grad_clip
        self._scale = LossScale.for_precision(precision)

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of a batch."""
        return self._module(batch)

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Accumulate the gradient in fp32; the last pass is like the others."""
        (loss * self._scale.value).backward()
        for low, master in zip(self._low, self._master, strict=True):
            if low is master or low.grad is None:
                continue
            gradient = low.grad.to(master.device)  # in low precision: half the bytes to move
            if master.grad is None:
                master.grad = gradient.float()
            else:
                master.grad += gradient
            low.grad = None

    def step(self, lr: float) -> StepResult:
        """Clip, step the fp32 weights, and round them."""
        for group in self._optimiser.param_groups:
            group["lr"] = lr
        grads = [master.grad for master in self._master if master.grad is not None]
        if self._scale.value != 1.0:
            torch._foreach_div_(grads, self._scale.value)
        norm = float(torch.nn.utils.clip_grad_norm_(self._master, self._clip))
        overflowed = not math.isfinite(norm)
        if not overflowed:
            self.before_change()
            self._optimiser.step()
            self._round()
        self.discard()
        scale = self._scale.value
        self._scale.update(overflowed)
        return StepResult(norm, overflowed, scale)

    def discard(self) -> None:
        """Clear the gradients."""
        self._optimiser.zero_grad(set_to_none=True)

    def train(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        self._module.train(mode)

    def total(self, values: list[float]) -> list[float]:
        """The values themselves: there is one rank."""
        return values

    def share(self, value: Any) -> Any:
        """The value itself."""
        return value

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the trained parameters."""
        return {name: tuple(p.shape) for name, p in zip(self._names, self._low, strict=True)}

    def held(self) -> list[Fragment]:
        """Everything."""
        return whole_fragments(self._names, list(self._master), self._optimiser)

    def owned(self) -> list[Fragment]:
        """Everything."""
        return self.held()

    def scalars(self) -> dict[str, float]:
        """AdamW's count of steps and the loss scale."""
        return {"optimiser_steps": steps_taken(self._optimiser), **self._scale.scalars()}

    def loaded(self, scalars: dict[str, float]) -> None:
        """Restore the counters and round the weights."""
        set_steps_taken(self._optimiser, scalars["optimiser_steps"])
        self._scale.restore(scalars)
        self._round()

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights by name."""
        return dict(self._module.model.state_dict())  # type: ignore[union-attr]

    @torch.no_grad()
    def _round(self) -> None:
        for low, master in zip(self._low, self._master, strict=True):
            if low is not master:
                # Rounded before it moves: half the bytes.
                low.copy_(master if master.device == low.device else master.to(low.dtype))


def _masters(lows: list[nn.Parameter], offload: bool) -> list[nn.Parameter]:
    """fp32 copies of weights, or the weights themselves where they are fp32 and stay in place."""
    device = torch.device("cpu") if offload else lows[0].device
    own = [low for low in lows if low.dtype != torch.float32 or low.device != device]
    copies = iter(aligned_empty([low.shape for low in own], device))
    copied = {id(low) for low in own}
    return [
        nn.Parameter(next(copies).copy_(low.detach())) if id(low) in copied else low for low in lows
    ]
