"""Gradients reduced during the backward pass are those of one process; so is the state after."""

import itertools
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tests.trainer.parallel.spawned import spawn
from tests.trainer.ranks import SHAPE, VOCABULARY, NoTokenizer, Rows, Run
from tests.trainer.test_steppers import check_layouts
from trainer.checkpoint import CheckpointStore, Policy
from trainer.config import OptimiserConfig
from trainer.cursor import Cursor
from trainer.data.rows import Batch, collate
from trainer.models.llama import DTYPES, NextTokenLoss, new_model
from trainer.parallel.choose import make_stepper
from trainer.parallel.hierarchical import HierarchicalStepper
from trainer.parallel.stepper import Stepper, StepResult
from trainer.step import forward_backward

RANKS = 4
BUCKETS = {"tiny": 1024, "medium": 24_000, "whole": 1 << 30}
"""Bytes: more than a hundred buckets, a few, one of each kind."""


@dataclass(frozen=True)
class Case:
    """One way to take a step."""

    group: int
    bucket: str
    passes: int = 1
    recompute: str = "none"
    tied: bool = True
    precision: str = "fp32"


EVERY = [Case(*cell) for cell in itertools.product((1, 2, 4), BUCKETS, (1, 3))]
OTHERS = [
    Case(2, "tiny", 3, "full"),
    Case(2, "medium", 1, "selective", tied=False),
    Case(4, "tiny", 1, "full", precision="bf16"),
    Case(2, "tiny", 3, precision="bf16"),
    Case(1, "medium", 3, tied=False, precision="bf16"),
]


class OddLoss(NextTokenLoss):
    """A loss with a parameter that nobody uses, and one that rank 2 alone does."""

    def __init__(self, case: Case, seed: int) -> None:
        shape = SHAPE.model_copy(update={"tie_embeddings": case.tied})
        dtype = DTYPES[case.precision]
        super().__init__(
            new_model(shape, VOCABULARY, NoTokenizer(), seed, dtype), recompute=case.recompute
        )
        self.unused = nn.Parameter(torch.ones(37, dtype=dtype))
        self.rare = nn.Parameter(torch.ones(5, 41, dtype=dtype))
        self.rank = 0

    def forward(self, batch: Batch) -> torch.Tensor:
        loss = super().forward(batch)
        return loss + self.rare.float().square().sum() if self.rank == 2 else loss


def batch_of(seed: int, rank: int, number: int) -> Batch:
    return collate([Rows(seed).row(100 * rank + number)])


def summed_gradients(case: Case, seed: int) -> dict[str, torch.Tensor]:
    """Of all passes of all ranks, one after another in this process, in fp32."""
    module = OddLoss(case, seed)
    module.train()
    total = {name: torch.zeros(p.shape) for name, p in module.named_parameters()}
    for module.rank in range(RANKS):
        for number in range(case.passes):
            (module(batch_of(seed, module.rank, number)) / 64).backward()
            for name, parameter in module.named_parameters():
                if parameter.grad is not None:
                    total[name] += parameter.grad
                    parameter.grad = None
    return total


def take_passes(stepper: HierarchicalStepper, case: Case, seed: int, scale: float = 1.0) -> None:
    for number in range(case.passes):
        loss = stepper.loss(batch_of(seed, dist.get_rank(), number))
        stepper.backward(loss * scale / 64, last=number == case.passes - 1)


def same_everywhere(values: torch.Tensor) -> bool:
    everyone = [torch.empty_like(values) for _ in range(RANKS)]
    dist.all_gather(everyone, values)
    return all(torch.equal(other, values) for other in everyone)


def seen_in_step(stepper: HierarchicalStepper) -> tuple[list[torch.Tensor], StepResult]:
    """The step, and this rank's pieces of the gradient before they are clipped."""
    seen: list[torch.Tensor] = []
    norm = stepper._norm

    def looked_at(gradients: list[torch.Tensor]) -> float:
        seen.extend(gradient.clone() for gradient in gradients)
        return norm(gradients)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepper, "_norm", looked_at)
        return seen, stepper.step(1e-3)


def check_case(case: Case, seed: int) -> None:
    wanted = summed_gradients(case, seed)
    module = OddLoss(case, seed)
    module.rank = dist.get_rank()
    stepper = HierarchicalStepper(
        module,
        OptimiserConfig(),
        shard_group=case.group,
        bucket_bytes=BUCKETS[case.bucket],
        precision="fp16",  # for its loss scale; the weights are what they are
    )
    stepper.train(True)
    flat = stepper._flat
    assert (len(flat.buckets) <= 2) is (case.bucket == "whole")
    before = flat.values.clone()

    take_passes(stepper, case, seed + 1)
    stepper.discard()
    take_passes(stepper, case, seed, float("inf"))
    result = stepper.step(1.0)
    assert result.skipped
    assert result.loss_scale == 65536.0
    assert torch.equal(flat.values, before), "a step that was left out changed weights"

    take_passes(stepper, case, seed)
    gradients, result = seen_in_step(stepper)
    norm = float(torch.cat([gradient.flatten() for gradient in wanted.values()]).norm())
    assert result.grad_norm == pytest.approx(norm, rel=1e-3), case
    found = dict.fromkeys(wanted, 0)
    for bucket, own in zip(flat.buckets, gradients, strict=True):
        for run in flat.fragments("gradient", bucket, stepper._place, own):
            other = wanted[run.parameter].flatten()[run.start : run.stop]
            room = 1e-5 + 1e-4 * float(wanted[run.parameter].abs().max())
            assert float((run.values - other).abs().max()) < room, (case, run.parameter)
            found[run.parameter] += len(other)
    for name, count in found.items():
        held = torch.tensor(float(count))
        dist.all_reduce(held, group=stepper._inside)
        assert held == wanted[name].numel(), name
    assert not torch.equal(flat.values, before)
    assert same_everywhere(flat.values), "ranks trained apart"
    for piece, master in zip(stepper._pieces, stepper._masters, strict=True):
        assert torch.equal(flat.values[piece], master.detach().to(flat.values.dtype))
    assert not flat.gradient.any()


def check_cases(cases: list[Case], seed: int) -> None:
    for case in cases:
        check_case(case, seed)


STATE = {"shard_group": 2, "bucket_bytes": 3000}
"""The layout that saves."""
READERS: list[dict[str, Any]] = [
    {"shard_group": 2, "bucket_bytes": 20_000},
    {"zero_stage": 0, "bucket_bytes": 1000},
    {"zero_stage": 1},
]


def stepper_of(run: Run) -> Stepper:
    config = run.config
    dtype = DTYPES[config.precision]
    return make_stepper(config, new_model(config.model, VOCABULARY, NoTokenizer(), 5, dtype))


def store_of(run: Run) -> CheckpointStore:
    return CheckpointStore(Path(run.root), prefix="test", policy=Policy(asynchronous=True))


def train_and_save(run: Run) -> None:
    """Two steps and a checkpoint; what this rank saved is also written as plain tensors."""
    stepper, store = stepper_of(run), store_of(run)
    for step in range(2):
        forward_backward([4 * step + k for k in range(4)], Rows(run.seed), stepper, 1, "test")
        stepper.step(1e-2)
    store.save(stepper, Cursor(2, 8), ["{}\n"])
    store.wait(stepper)
    saved = {(f.kind, f.parameter, f.start): f.values.clone() for f in stepper.owned()}
    torch.save((saved, stepper.shapes()), Path(run.root) / f"owned-{stepper.rank}.pt")


def saved_state(root: Path) -> dict[tuple[str, str], torch.Tensor]:
    """Kind and parameter to its elements, put together from all ranks; each is there once."""
    state: dict[tuple[str, str], torch.Tensor] = {}
    for path in root.glob("owned-*.pt"):
        saved, shapes = torch.load(path, weights_only=False)
        for (kind, name, start), values in saved.items():
            empty = torch.full((torch.Size(shapes[name]).numel(),), float("nan"))
            whole = state.setdefault((kind, name), empty)
            run = whole[start : start + len(values)]
            assert run.isnan().all(), "an element was saved twice"
            run.copy_(values)
    assert state
    assert not any(values.isnan().any() for values in state.values())
    return state


def check_resumed(run: Run, state: dict[tuple[str, str], torch.Tensor]) -> None:
    stepper, store = stepper_of(run), store_of(run)
    found = store.resume(stepper, print)
    assert found is not None
    assert found[0].samples == 8
    assert stepper.scalars()["optimiser_steps"] == 2
    for held in stepper.held():
        assert torch.equal(held.values, state[held.kind, held.parameter][held.start : held.stop])


def check_every_reader(runs: list[Run], state: dict[tuple[str, str], torch.Tensor]) -> None:
    for run in runs:
        check_resumed(run, state)


def four_ranks(cases: list[Case], seed: int, run: Run) -> None:
    check_cases(cases, seed)
    train_and_save(run)


def test_gradients_and_state_of_four_ranks(tmp_path: Path) -> None:
    """Ranks start slowly, so all that four of them show is shown in one start."""
    seed, precision = random.randrange(1000), random.choice(["fp32", "bf16"])
    saver = Run(str(tmp_path), {"workers": RANKS, **STATE}, seed, precision=precision)
    spawn(RANKS, four_ranks, random.sample(EVERY, 5) + OTHERS, seed, saver)
    state = saved_state(tmp_path)
    check_resumed(Run(str(tmp_path), {"workers": 1}, seed, precision=precision), state)


@pytest.mark.slow
def test_every_group_bucket_and_number_of_passes() -> None:
    spawn(RANKS, check_cases, EVERY, random.randrange(1000))


@pytest.mark.slow
@pytest.mark.parametrize("saver", [{"workers": 1}, {"workers": 3, "zero_stage": 0}])
def test_state_goes_to_other_numbers_of_ranks_bit_by_bit(
    tmp_path: Path, saver: dict[str, Any]
) -> None:
    """Saved whole by one process, or by three ranks; read by two and by four."""
    seed, precision = random.randrange(1000), random.choice(["fp32", "bf16"])
    run = Run(str(tmp_path), saver, seed, precision=precision)
    if saver["workers"] == 1:
        train_and_save(run)
    else:
        spawn(saver["workers"], train_and_save, run)
    state = saved_state(tmp_path)
    for ranks in (2, 4):
        readers = [
            Run(str(tmp_path), {"workers": ranks, **layout}, seed, precision=precision)
            for layout in READERS
        ]
        spawn(ranks, check_every_reader, readers, state)


@pytest.mark.slow
def test_overlapped_runs_take_the_steps_of_one(tmp_path: Path) -> None:
    """The real loop with rows shared between ranks, and with layers computed again."""
    tiny = {"shard_group": 2, "bucket_bytes": 2000}
    layouts: dict[str, dict[str, Any]] = {
        "ulysses": {**tiny, "sequence_parallel": 2},
        "full": {**tiny, "recompute": "full"},
        "selective": {**tiny, "recompute": "selective"},
        "passes": {**tiny, "micro_batch": 1},
        "all": {"zero_stage": 0, "bucket_bytes": 2000, "sequence_parallel": 4},
    }
    check_layouts(RANKS, layouts, tmp_path)
