"""A step by one process in plain torch: bf16 weights, fp32 master weights.

The reference that the DeepSpeed stepper is tested against.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.config import OptimiserConfig
from trainer.data.rows import Batch
from trainer.parallel.stepper import make_optimiser

_STATE_FILE = "state.pt"


class PlainStepper:
    """Trains in this process alone, without Ray and without DeepSpeed."""

    rank = 0
    world_size = 1

    def __init__(self, module: nn.Module, config: OptimiserConfig) -> None:
        self._module = module
        self._low = [p for p in module.parameters() if p.requires_grad]
        self._master = [nn.Parameter(p.detach().float().clone()) for p in self._low]
        names = [name for name, p in module.named_parameters() if p.requires_grad]
        self._optimiser = make_optimiser(list(zip(names, self._master, strict=True)), config)
        self._clip = config.grad_clip

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of a batch."""
        return self._module(batch)

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient in fp32."""
        loss.backward()
        for low, master in zip(self._low, self._master, strict=True):
            if low.grad is None:
                continue
            if master.grad is None:
                master.grad = torch.zeros_like(master)
            master.grad += low.grad
            low.grad = None

    def step(self, lr: float) -> float:
        """Clip, step the fp32 weights, and round them to bf16."""
        for group in self._optimiser.param_groups:
            group["lr"] = lr
        norm = torch.nn.utils.clip_grad_norm_(self._master, self._clip)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._round()
        return float(norm)

    def train(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        self._module.train(mode)

    def total(self, values: list[float]) -> list[float]:
        """The values themselves: there is one rank."""
        return values

    def share(self, value: Any) -> Any:
        """The value itself."""
        return value

    def save(self, directory: Path) -> None:
        """Write the fp32 weights and the optimiser's state."""
        state = {"master": self._master, "optimiser": self._optimiser.state_dict()}
        torch.save(state, directory / _STATE_FILE)

    def load(self, directory: Path) -> None:
        """Read back what ``save`` wrote."""
        state = torch.load(directory / _STATE_FILE, weights_only=True)
        with torch.no_grad():
            for master, saved in zip(self._master, state["master"], strict=True):
                master.copy_(saved)
        self._optimiser.load_state_dict(state["optimiser"])
        self._round()

    def weights(self) -> dict[str, torch.Tensor]:
        """The bf16 weights by name."""
        return dict(self._module.model.state_dict())  # type: ignore[union-attr]

    @torch.no_grad()
    def _round(self) -> None:
        for low, master in zip(self._low, self._master, strict=True):
            low.copy_(master)
