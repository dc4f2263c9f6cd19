"""Runs the loop on real ranks over gloo, without Ray: one process per rank."""

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from trainer.checkpoint import CheckpointStore, Policy
from trainer.config import ModelShape, PretrainConfig
from trainer.data.rows import Row
from trainer.loop import LoopPlan, train
from trainer.losses.cross_entropy import IGNORE
from trainer.metrics import MetricsLog
from trainer.models.llama import DTYPES, new_model
from trainer.parallel.choose import make_stepper
from trainer.parallel.device import rank_device

VOCABULARY = 96
LENGTH = 24
SHAPE = ModelShape(
    hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, mlp_size=40, max_positions=64
)


class NoTokenizer:
    bos_token_id = eos_token_id = pad_token_id = None


class Rows:
    """Rows of random documents, pure in seed and k; some positions carry no loss."""

    def __init__(self, seed: int, length: int = LENGTH) -> None:
        self.seed, self.row_length = seed, length

    def row(self, k: int) -> Row:
        chance = np.random.default_rng([self.seed, k])
        length = self.row_length
        ids = chance.integers(0, VOCABULARY, length)
        labels = np.where(chance.random(length) < 0.3, IGNORE, np.roll(ids, -1))
        return Row(ids, labels, np.sort(chance.integers(0, 4, length)).astype(np.int32))

    def validation(self) -> dict[str, list[Row]]:
        return {"held": [self.row(10_000 + k) for k in range(3)]}


class FewRows(Rows):
    """The same thirteen rows again and again: they can be learned."""

    def row(self, k: int) -> Row:
        return super().row(k % 13)


@dataclass(frozen=True)
class Run:
    """A run of the loop; picklable."""

    root: str
    """Folder of the checkpoints."""
    parallel: dict[str, Any] = field(default_factory=dict)
    seed: int = 1
    steps: int = 6
    stop_after: int | None = None
    """Die in the step after this one, before its own checkpoint is written."""
    precision: str = "fp32"
    options: dict[str, Any] = field(default_factory=dict)
    few_rows: bool = False
    length: int = LENGTH
    """Tokens of a row."""
    poisoned: bool = False
    """No gradient is a number, though the loss is."""

    @property
    def config(self) -> PretrainConfig:
        return PretrainConfig.model_validate(
            {
                "batch": 5,
                "precision": self.precision,
                "sequence_length": LENGTH,
                "parallel": {"micro_batch": 2, **self.parallel},
                "optimiser": {"lr": 3e-3, "warmup_steps": 2},
                "model": SHAPE.model_dump(),
                **self.options,
            }
        )


@dataclass(frozen=True)
class Result:
    lines: list[dict[str, Any]]
    weights: dict[str, torch.Tensor]
    world_sizes: list[tuple[int, int]]

    @property
    def losses(self) -> list[float]:
        return [line["loss"] for line in self.lines if "loss" in line]

    @property
    def data(self) -> list[int]:
        return [line["data"] for line in self.lines if "loss" in line]


class _Stop(Exception):
    """The test's kill."""


def run_here(run: Run) -> Result:
    """The loop in this process: plain, or as one of the ranks that are set up."""
    config = run.config
    model = new_model(config.model, VOCABULARY, NoTokenizer(), run.seed, DTYPES[config.precision])
    if run.poisoned:
        model.model.norm.weight.register_hook(lambda gradient: gradient * float("nan"))
    stepper = make_stepper(config, model.to(rank_device(config.parallel)))
    plan = LoopPlan(
        total_steps=run.steps,
        batch=config.batch,
        micro_batch=config.rows_per_pass(stepper.data_ranks),
        validation_every=3,
        checkpoint_every=1,
        optimiser=config.optimiser,
        prefix="test",
        bad_steps=config.bad_steps,
        skipped=tuple(config.skip_samples),
        may_overflow=config.precision == "fp16",
        bad_folder=Path(run.root) / "bad",
    )
    checkpoints = CheckpointStore(
        Path(run.root), prefix="test", policy=Policy(keep_last=2, asynchronous=run.seed % 2 == 0)
    )
    rows = (FewRows if run.few_rows else Rows)(run.seed, run.length)
    log = MetricsLog(None)

    def leaving() -> bool:
        steps = sum('"loss"' in line for line in log.lines)
        if run.stop_after is not None and steps > run.stop_after:
            checkpoints.wait(stepper)
            raise _Stop
        return False

    with contextlib.suppress(_Stop):
        train(plan, rows, stepper, checkpoints, log, leaving)
    lines = [json.loads(line) for line in log.lines]
    weights = {name: w.clone() for name, w in stepper.weights().items()}
    return Result(lines, weights, checkpoints.world_sizes)


def run_ranks(ranks: int, *runs: Run) -> list[Result]:
    """The loops one after another on the same ranks; rank 0's results."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (ranks, folder, runs), nprocs=ranks)
        return torch.load(Path(folder) / "results.pt", weights_only=False)


def _rank(rank: int, ranks: int, folder: str, runs: tuple[Run, ...]) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks))
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=ranks
    )
    results = [run_here(run) for run in runs]
    if rank == 0:
        torch.save(results, Path(folder) / "results.pt")
    dist.barrier()
    dist.destroy_process_group()
