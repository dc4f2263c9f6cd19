"""Optimiser state sharded inside groups of ranks, gradients reduced across the groups.

With a group per node the weights that each step sends travel over the links inside the
node only; across nodes goes one gradient shard per rank, while the backward pass goes on.
This is how InternEvo (arXiv:2401.09149) scales to 1,024 GPUs. Groups of one rank are plain
data parallelism (ZeRO 0), one group of all ranks is ZeRO 1.

All weights lie in one flat buffer that is cut into buckets; every parameter is a view of it,
and every rank of a group holds its piece of every bucket.
"""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from trainer.config import OptimiserConfig
from trainer.data.rows import Batch
from trainer.parallel.aligned import aligned_empty
from trainer.parallel.buckets import Bucket, FlatWeights
from trainer.parallel.collective import Collective, ReduceScatter
from trainer.parallel.fragments import Fragment, part_of
from trainer.parallel.optimiser import MOMENTS, adamw, materialise, set_steps_taken, steps_taken
from trainer.parallel.reduction import Reduction
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
        bucket_bytes: int,
        precision: str = "bf16",
    ) -> None:
        """Build the groups; ``shard_group`` neighbouring ranks share one optimiser state.

        Args:
            bucket_bytes: of fp32 gradients that travel in one message; one bucket as large as
                the model is reduced when the backward pass is over.

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
        self._flat = FlatWeights(module, shard_group, bucket_bytes)
        dist.broadcast(self._flat.values, src=0)  # everybody starts from rank 0's weights
        self._pieces = [self._flat.piece(bucket, self._place) for bucket in self._flat.buckets]
        self._masters = [nn.Parameter(values) for values in self._make_masters()]
        largest = max(bucket.stop - bucket.start for bucket in self._flat.buckets)
        self._scatter = ReduceScatter(self._inside, largest)
        self._reduction = Reduction(self._flat, self._reduce)
        self._optimiser = self._make_optimiser(config)
        self._clip = config.grad_clip
        self._scale = LossScale.for_precision(precision)

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of a batch."""
        return self._module(batch)

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Add the gradient of this rank's share, in fp32; in the last pass reduce it meanwhile."""
        self._reduction.backward(loss * self._scale.value, last)

    def step(self, lr: float) -> StepResult:
        """Wait for the reduced gradient; step the own pieces; gather inside the group."""
        self._reduction.finish()
        gradients = [self._flat.gradient[piece] for piece in self._pieces]
        if self._scale.value != 1.0:
            torch._foreach_div_(gradients, self._scale.value)
        norm = self._norm(gradients)
        overflowed = not math.isfinite(norm)
        if not overflowed:
            torch._foreach_mul_(gradients, min(1.0, self._clip / (norm + 1e-6)))
            for master, gradient in zip(self._masters, gradients, strict=True):
                master.grad = gradient
            for group in self._optimiser.param_groups:
                group["lr"] = lr
            self.before_change()
            self._optimiser.step()
            self._gather()
        self._flat.gradient.zero_()
        scale = self._scale.value
        self._scale.update(overflowed)
        return StepResult(norm, overflowed, scale)

    def discard(self) -> None:
        """Clear the gradients; sums that have begun end first, at all ranks alike."""
        if self._reduction.begun:
            self._reduction.finish()
        self._flat.gradient.zero_()

    def train(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        self._module.train(mode)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the trained parameters."""
        return self._flat.shapes

    def held(self) -> list[Fragment]:
        """The pieces of this rank, cut at the borders of parameters."""
        found: list[Fragment] = []
        for bucket, master in zip(self._flat.buckets, self._masters, strict=True):
            state = self._optimiser.state[master]
            kinds = {"master": master.detach()} | {kind: state[kind] for kind in MOMENTS}
            for kind, values in kinds.items():
                found += self._flat.fragments(kind, bucket, self._place, values)
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

    def _make_masters(self) -> list[torch.Tensor]:
        """fp32 copies of the own pieces, or the pieces themselves where they are fp32."""
        pieces = [self._flat.values[piece] for piece in self._pieces]
        if pieces[0].dtype == torch.float32:
            return pieces
        masters = aligned_empty([piece.shape for piece in pieces], pieces[0].device)
        return [master.copy_(piece) for master, piece in zip(masters, pieces, strict=True)]

    def _make_optimiser(self, config: OptimiserConfig) -> torch.optim.AdamW:
        pairs = list(zip(self._flat.buckets, self._masters, strict=True))
        groups = [
            {"params": [m for b, m in pairs if b.decayed], "weight_decay": config.weight_decay},
            {"params": [m for b, m in pairs if not b.decayed], "weight_decay": 0.0},
        ]
        optimiser = adamw(groups, config)
        materialise(optimiser, self._masters)
        return optimiser

    def _reduce(self, bucket: Bucket) -> None:
        """Sum a bucket's gradient inside the group, each rank its piece, then that across."""
        piece = self._scatter(self._flat.gradient[bucket.start : bucket.stop])
        if self._group < self.world_size:
            dist.all_reduce(piece, group=self._across)

    def _norm(self, gradients: list[torch.Tensor]) -> float:
        # In parts: as doubles the whole gradient takes twice what all weights do.
        parts = [part for gradient in gradients for part in gradient.split(_NORM_ELEMENTS)]
        squares = torch.stack([part.double().square().sum() for part in parts]).sum().view(1)
        if self._group > 1:
            dist.all_reduce(squares, group=self._inside)
        return float(squares.sqrt())

    @torch.no_grad()
    def _gather(self) -> None:
        works = []
        for bucket, piece, master in zip(
            self._flat.buckets, self._pieces, self._masters, strict=True
        ):
            own = self._flat.values[piece]
            if own.dtype != master.dtype:
                own.copy_(master)
            if self._group > 1:
                whole = self._flat.values[bucket.start : bucket.stop]
                works.append(
                    dist.all_gather_into_tensor(whole, own, group=self._inside, async_op=True)
                )
        for work in works:
            work.wait()


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
