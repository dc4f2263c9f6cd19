"""The plan's memory ledger against the peak of real steps, every CPU tensor counted.

torch's profiler tells of every allocation and release of its CPU allocator. Model, states and
two steps run under it in a fresh process (rank 0 of two, where two ranks share the work); the
peak within the second step is held against the ledger of the same layout. What oneDNN and gloo
allocate for themselves is not torch's, and not counted.
"""

import argparse
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.report import keep
from benchmarks.trainer.ranks import SHAPES, NoTokenizer, RandomRows, config_of
from trainer.config import PretrainConfig
from trainer.models.llama import DTYPES, new_model
from trainer.observe.measure import layout_of
from trainer.parallel.choose import make_stepper
from trainer.plan.memory import Ledger, ledger
from trainer.plan.model import shape_of_config
from trainer.step import forward_backward

LENGTH = 256
STEPS = 2


@dataclass(frozen=True)
class Case:
    """One configuration: a model, rows of a step and of a pass, a layout."""

    size: str
    rows: int
    rows_per_pass: int
    parallel: dict[str, Any] = field(default_factory=dict)

    @property
    def ranks(self) -> int:
        """Processes."""
        return int(self.parallel.get("workers", 1))

    @property
    def config(self) -> PretrainConfig:
        """As a stage would have it."""
        parallel = {"workers": 1, **self.parallel, "micro_batch": self.rows_per_pass}
        return config_of(self.size, self.rows, LENGTH, **parallel)


CASES = [
    Case("10M", 2, 2),
    Case("10M", 16, 16),
    Case("10M", 16, 16, {"recompute": "full"}),
    Case("10M", 16, 16, {"recompute": "selective"}),
    Case("10M", 16, 4),
    Case("50M", 4, 4),
    Case("50M", 8, 8, {"recompute": "full"}),
    Case("50M", 8, 2, {"recompute": "selective"}),
    Case("10M", 16, 8, {"workers": 2, "zero_stage": 0}),
    Case("10M", 16, 8, {"workers": 2, "zero_stage": 1}),
    Case("10M", 16, 8, {"workers": 2, "zero_stage": 2}),
    Case("10M", 16, 4, {"workers": 2, "zero_stage": 3}),
]


def measured_peak(case: Case) -> int:
    """Bytes of torch's CPU tensors at the peak of the second step, on rank 0."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (folder, case), nprocs=case.ranks)
        return int((Path(folder) / "peak").read_text())


def planned(case: Case) -> Ledger:
    """What the plan says."""
    config, vocabulary = case.config, SHAPES[case.size][1]
    model = new_model(config.model, vocabulary, NoTokenizer(), 1)
    shape = shape_of_config(model.config.to_dict(), case.size)
    return ledger(shape, layout_of(config, case.ranks), LENGTH, on_cpu=True)


def _rank(rank: int, folder: str, case: Case) -> None:
    config = case.config
    torch.set_num_threads(1)
    if case.ranks > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(case.ranks))
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = f"file://{folder}/rendezvous"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=case.ranks)
    vocabulary = SHAPES[case.size][1]
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        dtype = DTYPES[config.precision]
        model = new_model(config.model, vocabulary, NoTokenizer(), 1, dtype)
        stepper = make_stepper(config, model)
        rows = RandomRows(LENGTH, vocabulary)
        per_pass = config.rows_per_pass(stepper.data_ranks)
        for step in range(STEPS):
            with torch.profiler.record_function(f"step {step}"):
                forward_backward(list(range(config.batch)), rows, stepper, per_pass, "bench")
                stepper.step(1e-4)
    if rank == 0:
        (Path(folder) / "peak").write_text(str(_peak_in(profiler, f"step {STEPS - 1}")))
    if case.ranks > 1:
        dist.barrier()
        dist.destroy_process_group()


def _peak_in(profiler: Any, name: str) -> int:
    """The most that was allocated at any time inside the range called ``name``."""
    roots = profiler.profiler.kineto_results.experimental_event_tree()
    waiting, begin, end = list(roots), 0, 0
    allocations: list[tuple[int, int]] = []
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.name == name:
            begin, end = event.start_time_ns, event.end_time_ns
        elif event.name == "[memory]":
            allocations.append((event.start_time_ns, event.extra_fields.total_allocated))
    return max(total for time, total in allocations if begin <= time <= end)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of cases, from 0")
    options = parser.parse_args()
    errors, rows = [], []
    for number, case in enumerate(CASES):
        if options.only and number not in options.only:
            continue
        seen, book = measured_peak(case), planned(case)
        errors.append(book.total / seen - 1)
        parts = {name: round(getattr(book, name) / 2**20, 1) for name in book.__dataclass_fields__}
        row = {
            "case": f"{case.size}, {case.rows} rows by {case.rows_per_pass}, {case.parallel}",
            "measured_mib": round(seen / 2**20, 1),
            "planned_mib": round(book.total / 2**20, 1),
            "error": round(errors[-1], 4),
        }
        print(number, row, parts, flush=True)
        rows.append(row)
    if options.only:
        return
    worst = max(abs(error) for error in errors)
    keep(
        "trainer-memory-ledger",
        what=f"largest error of the plan's memory ledger over {len(CASES)} configurations, "
        "against the measured peak of CPU tensors",
        ours=round(worst, 4),
        unit="fraction",
        peer=None,
        theirs=None,
        ratio=None,
        goal="<= 0.10",
        met=worst <= 0.10,
        mean=round(mean(abs(error) for error in errors), 4),
        cases=rows,
    )


if __name__ == "__main__":
    main()
