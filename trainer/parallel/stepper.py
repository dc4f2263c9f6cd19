"""What the training loop asks of whoever does the step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from trainer.data.rows import Batch
from trainer.parallel.fragments import Fragment


@dataclass(frozen=True)
class StepResult:
    """What became of an optimisation step."""

    grad_norm: float
    """Global L2 norm of the gradient before clipping."""
    skipped: bool = False
    """The gradient is not finite: the weights stay, and in fp16 the loss scale is lowered."""
    loss_scale: float = 1.0
    """Factor on the loss of this step: only where it is above 1 can lowering it help."""


def nobody_reads() -> None:
    """``before_change`` where nobody reads the state while training goes on."""


class Stepper(Protocol):
    """One rank's hold on model and optimiser. Every method is called by all ranks alike."""

    rank: int
    world_size: int
    data_rank: int
    """Place among the ranks that train different rows."""
    data_ranks: int
    """Ranks that train different rows: the world size over the sequence-parallel size."""
    before_change: Callable[[], None]
    """Called before anything that ``held`` gives changes: somebody may be reading it."""

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of this rank's part of a batch, with its graph while training."""
        ...

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Add the gradient of this rank's share of the global loss.

        Args:
            last: this is the step's last pass, so that its gradients may travel meanwhile.
        """
        ...

    def step(self, lr: float) -> StepResult:
        """Clip, step, clear the gradients."""
        ...

    def discard(self) -> None:
        """Clear the gradients without a step."""
        ...

    def train(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        ...

    def total(self, values: list[float]) -> list[float]:
        """Element-wise sum over the ranks, in float64."""
        ...

    def share(self, value: Any) -> Any:
        """Rank 0's value, at every rank; also a barrier."""
        ...

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the trained parameters, whole, by name."""
        ...

    def held(self) -> list[Fragment]:
        """Live state on this rank: loading writes into it."""
        ...

    def owned(self) -> list[Fragment]:
        """The part of ``held`` that this rank saves: over all ranks, everything once."""
        ...

    def scalars(self) -> dict[str, float]:
        """State that is one number, alike on all ranks."""
        ...

    def loaded(self, scalars: dict[str, float]) -> None:
        """Take over what was written into ``held``: restore counters, round the weights."""
        ...

    def weights(self) -> dict[str, torch.Tensor]:
        """The trained weights by their names in the Hugging Face model; whole on rank 0."""
        ...
