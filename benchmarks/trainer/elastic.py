"""Two workers, then three, then two again, killed in between, against two undisturbed ones.

Each stretch is a process group of its own that dies in the middle of a step with SIGKILL and
leaves what it had saved; the next one has another number of ranks. Rows are random documents,
the model is small: what is compared is the order of the samples, by checksum, and the curve.
"""

import argparse
import json
import os
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.report import keep
from benchmarks.trainer.ranks import NoTokenizer, RandomRows
from trainer.checkpoint import CheckpointStore, Policy
from trainer.config import PretrainConfig
from trainer.data.rows import Row
from trainer.loop import LoopPlan, train
from trainer.metrics import MetricsLog
from trainer.models.llama import DTYPES, new_model
from trainer.parallel.choose import make_stepper

VOCABULARY = 512
SHAPE = {"hidden_size": 64, "num_layers": 3, "num_heads": 4, "num_kv_heads": 2, "mlp_size": 160}
LENGTH = 64


class FewRows(RandomRows):
    """The same forty rows again and again: they can be learned."""

    def row(self, k: int) -> Row:
        """Sample ``k``."""
        return super().row(k % 40)


@dataclass(frozen=True)
class Stretch:
    """Ranks that train until they are killed, or to the end."""

    root: str
    ranks: int
    zero_stage: int
    steps: int
    precision: str
    die_after: int | None = None

    @property
    def config(self) -> PretrainConfig:
        """As a stage would have it."""
        return PretrainConfig.model_validate(
            {
                "model": {**SHAPE, "max_positions": LENGTH},
                "sequence_length": LENGTH,
                "batch": 13,
                "precision": self.precision,
                "parallel": {
                    "workers": self.ranks,
                    "zero_stage": self.zero_stage,
                    "micro_batch": 4,
                },
                "optimiser": {"lr": 2e-3, "warmup_steps": 4},
            }
        )


def run(stretch: Stretch) -> None:
    """One stretch; returns when its ranks are done or dead."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            mp.spawn(_rank, (folder, stretch), nprocs=stretch.ranks)
        except (mp.ProcessExitedException, mp.ProcessRaisedException):
            if not (Path(folder) / "killed").exists():  # else the others miss the dead one
                raise


def _rank(rank: int, folder: str, stretch: Stretch) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(stretch.ranks))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=stretch.ranks)
    config = stretch.config
    dtype = DTYPES[config.precision]
    model = new_model(config.model, VOCABULARY, NoTokenizer(), 5, dtype)
    stepper = make_stepper(config, model)
    log = MetricsLog(None)
    plan = LoopPlan(
        total_steps=stretch.steps,
        batch=config.batch,
        micro_batch=config.rows_per_pass(stepper.data_ranks),
        validation_every=stretch.steps,
        checkpoint_every=2,
        optimiser=config.optimiser,
        prefix="bench",
    )
    checkpoints = CheckpointStore(Path(stretch.root), prefix="bench", policy=Policy(keep_last=2))

    def leaving() -> bool:
        done = sum('"loss"' in line for line in log.lines)
        if rank == stretch.ranks - 1 and done == stretch.die_after:
            (Path(folder) / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    train(plan, FewRows(LENGTH, VOCABULARY), stepper, checkpoints, log, leaving)
    if rank == 0:
        (Path(stretch.root) / "metrics.jsonl").write_text("".join(log.lines))
    dist.barrier()
    dist.destroy_process_group()


def lines_of(root: Path) -> list[dict[str, Any]]:
    """The steps of a finished run."""
    text = (root / "metrics.jsonl").read_text()
    return [entry for entry in map(json.loads, text.splitlines()) if "loss" in entry]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--zero-stage", type=int, default=1)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=DTYPES)
    options = parser.parse_args()
    for precision in options.precisions:
        compare(options.zero_stage, options.steps, precision)


def compare(zero_stage: int, steps: int, precision: str) -> None:
    """Run both sides in one precision, and keep how far apart they are."""
    with tempfile.TemporaryDirectory() as folder:
        common = (zero_stage, steps, precision)
        whole, moved = Path(folder) / "whole", Path(folder) / "moved"
        for root in (whole, moved):
            root.mkdir()
        run(Stretch(str(whole), 2, *common))
        run(Stretch(str(moved), 2, *common, die_after=steps // 3 + 1))
        run(Stretch(str(moved), 3, *common, die_after=2 * (steps // 3) + 1))
        run(Stretch(str(moved), 2, *common))
        wanted, found = lines_of(whole), lines_of(moved)
    same = [line["data"] for line in wanted] == [line["data"] for line in found]
    same &= [line["samples"] for line in wanted] == [line["samples"] for line in found]
    apart = [abs(one["loss"] - two["loss"]) for one, two in zip(wanted, found, strict=True)]
    keep(
        "trainer-elastic" + ("" if precision == "fp32" else f"-{precision}"),
        what=f"largest difference of the loss over {steps} steps when 2 workers become 3 "
        f"and 2 again, a worker killed each time, {precision}; the samples are "
        + ("the same" if same else "NOT the same"),
        ours=float(f"{max(apart):.3g}"),
        unit="nats",
        peer="2 workers undisturbed",
        theirs=0.0,
        ratio=None,
        goal="same samples, <= 0.001",
        met=same and max(apart) <= 1e-3,
        mean=float(f"{sum(apart) / len(apart):.3g}"),
    )


if __name__ == "__main__":
    main()
