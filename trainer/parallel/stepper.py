"""What the training loop asks of whoever does the step."""

from pathlib import Path
from typing import Any, Protocol

import torch

from trainer.config import OptimiserConfig
from trainer.data.rows import Batch


class Stepper(Protocol):
    """One rank's hold on model and optimiser. Every method is called by all ranks alike."""

    rank: int
    world_size: int

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of a batch, with its graph while training."""
        ...

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of this rank's share of the global loss."""
        ...

    def step(self, lr: float) -> float:
        """Clip, step, clear the gradients. Returns the gradient's global norm before."""
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

    def save(self, directory: Path) -> None:
        """Write model and optimiser state; every rank its part."""
        ...

    def load(self, directory: Path) -> None:
        """Read back what ``save`` wrote at the same world size."""
        ...

    def weights(self) -> dict[str, torch.Tensor]:
        """The trained weights by their names in the Hugging Face model, in bf16."""
        ...


def make_optimiser(
    named: list[tuple[str, torch.nn.Parameter]], config: OptimiserConfig
) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101) in torch; vectors (norm weights) have no weight decay."""
    groups = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=1e-8)
