"""Optimiser state sharded inside groups of ranks, gradients reduced across the groups.

With a group per node the weights that each step sends travel over the links inside the
node only; across nodes goes one gradient shard per rank. This is how InternEvo
(arXiv:2401.09149) scales to 1,024 GPUs. Groups of one rank are plain data parallelism
(ZeRO 0), one group of all ranks is ZeRO 1.

All weights lie in one flat buffer, those with weight decay first, padded so that it
divides by the group; every parameter is a view of it.
"""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from trainer.config import OptimiserConfig
from trainer.data.rows import Batch
from trainer.parallel.aligned import aligned_empty
from trainer.parallel.collective import Collective
from trainer.parallel.flat import FlatWeights
from trainer.parallel.fragments import Fragment, part_of
from trainer.parallel.optimiser import MOMENTS, adamw, materialise, set_steps_taken, steps_taken
from trainer.parallel.scaler import LossScale
from trainer.parallel.stepper import StepResult

_NORM_ELEMENTS = 1 << 20


class HierarchicalStepper(Collective):
    """One rank of data parallelism whose optimiser state is sharded in groups of ranks."""

    def __init__(
        self,
        module: nn.Module,
        config: OptimiserConfig,
        *,
        shard_group: int,
        precision: str = "bf16",
    ) -> None:
        """Build the groups; ``shard_group`` neighbouring ranks share one optimiser state.

        Raises:
            ValueError: ``shard_group`` does not divide the number of ranks.
        """
        super().__init__()
        self.data_rank, self.data_ranks = self.rank, self.world_size
        if self.world_size % shard_group:
            raise ValueError(f"shard_group {shard_group} does not divide {self.world_size} ranks")
        self._module = module
        self._group = shard_group
        self._place = self.rank % shard_group
        self._inside, self._across = _make_groups(self.rank, self.world_size, shard_group)
        self._flat = FlatWeights(module, shard_group)
        own = self._flat.shard(self._place)
        if own.dtype != torch.float32:
            (master,) = aligned_empty([own.shape], own.device)
            own = master.copy_(own)
        self._master = own
        self._optimiser = self._make_optimiser(config)
        self._clip = config.grad_clip
        self._scale = LossScale.for_precision(precision)
        self._synchronise()

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of a batch."""
        return self._module(batch)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of this rank's share, in fp32."""
        (loss * self._scale.value).backward()
        self._flat.collect_gradients()

    def step(self, lr: float) -> StepResult:
        """Reduce inside the group, then across; step the shard; gather inside the group."""
        gradient = self._reduce()
        if self._scale.value != 1.0:
            gradient /= self._scale.value
        norm = self._norm(gradient)
        overflowed = not math.isfinite(norm)
        if not overflowed:
            gradient *= min(1.0, self._clip / (norm + 1e-6))
            for group, values in zip(
                self._optimiser.param_groups, self._cut(gradient), strict=True
            ):
                group["lr"] = lr
                (parameter,) = group["params"]
                parameter.grad = values
            self.before_change()
            self._optimiser.step()
            self._gather()
        self.discard()
        scale = self._scale.value
        self._scale.update(overflowed)
        return StepResult(norm, overflowed, scale)

    def discard(self) -> None:
        """Clear the gradients."""
        self._flat.gradient.zero_()

    def train(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        self._module.train(mode)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the trained parameters."""
        return self._flat.shapes

    def held(self) -> list[Fragment]:
        """The shard of this rank, cut at the borders of parameters."""
        first = self._place * self._flat.shard_size
        found = self._flat.fragments("master", self._master, first)
        start = first
        for parameter in self._parameters:
            state = self._optimiser.state[parameter]
            for kind in MOMENTS:
                found += self._flat.fragments(kind, state[kind], start)
            start += parameter.numel()
        return found

    def owned(self) -> list[Fragment]:
        """Groups hold the same shards, so each of them saves its part."""
        return part_of(self.held(), self.rank // self._group, self.world_size // self._group)

    def scalars(self) -> dict[str, float]:
        """AdamW's count of steps and the loss scale."""
        return {"optimiser_steps": steps_taken(self._optimiser), **self._scale.scalars()}

    def loaded(self, scalars: dict[str, float]) -> None:
        """Restore the counters and round the weights."""
        set_steps_taken(self._optimiser, scalars["optimiser_steps"])
        self._scale.restore(scalars)
        self._gather()

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights by name."""
        return dict(self._module.model.state_dict())  # type: ignore[union-attr]

    def _make_optimiser(self, config: OptimiserConfig) -> torch.optim.AdamW:
        self._parameters = [nn.Parameter(values) for values in self._cut(self._master)]
        decays = [config.weight_decay, 0.0]
        groups = [
            {"params": [p], "weight_decay": decay}
            for p, decay in zip(self._parameters, decays, strict=True)
        ]
        optimiser = adamw(groups, config)
        materialise(optimiser, self._parameters)
        return optimiser

    def _cut(self, shard: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The part of a shard with weight decay, and the part without; views."""
        first = self._place * self._flat.shard_size
        border = min(max(self._flat.decayed - first, 0), len(shard))
        return shard[:border], shard[border:]

    def _reduce(self) -> torch.Tensor:
        gradient = self._flat.gradient
        if self._group > 1:
            shard = torch.empty_like(self._master)
            dist.reduce_scatter_tensor(shard, gradient, group=self._inside)
            gradient = shard
        if self._group < self.world_size:
            dist.all_reduce(gradient, group=self._across)
        return gradient

    def _norm(self, gradient: torch.Tensor) -> float:
        # In pieces: as doubles the whole gradient takes twice what all weights do.
        pieces = [piece.double().square().sum() for piece in gradient.split(_NORM_ELEMENTS)]
        squares = torch.stack(pieces).sum().view(1)
        if self._group > 1:
            dist.all_reduce(squares, group=self._inside)
        return float(squares.sqrt())

    @torch.no_grad()
    def _gather(self) -> None:
        shard = self._flat.shard(self._place)
        shard.copy_(self._master)
        if self._group > 1:
            dist.all_gather_into_tensor(self._flat.values, shard.clone(), group=self._inside)

    def _synchronise(self) -> None:
        """Everybody starts from rank 0's weights."""
        dist.broadcast(self._flat.values, src=0)
        self._master.copy_(self._flat.shard(self._place))


def _make_groups(rank: int, ranks: int, size: int) -> tuple[Any, Any]:
    """The group of neighbours, and the group of those in the same place of every group."""
    inside = across = None
    for first in range(0, ranks, size):
        members = list(range(first, first + size))
        made = dist.new_group(members)
        inside = made if rank in members else inside
    for place in range(size):
        members = list(range(place, ranks, size))
        made = dist.new_group(members)
        across = made if rank in members else across
    return inside, across
