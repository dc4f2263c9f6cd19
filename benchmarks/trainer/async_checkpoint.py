"""Checkpoints of 50M parameters and their state: written beside training, or in its way."""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.report import keep
from benchmarks.trainer.no_tokenizer import NoTokenizer
from trainer.checkpoint import CheckpointStore, Policy
from trainer.config import ModelShape, OptimiserConfig
from trainer.cursor import Cursor
from trainer.data.rows import Row, collate
from trainer.models.llama import NextTokenLoss, new_model
from trainer.parallel.plain import PlainStepper

SHAPE = ModelShape(
    hidden_size=512, num_layers=12, num_heads=8, num_kv_heads=8, mlp_size=1408, max_positions=512
)
VOCABULARY = 22_000
LENGTH = 512


def _stepper() -> PlainStepper:
    model = new_model(SHAPE, VOCABULARY, NoTokenizer(), seed=1)
    return PlainStepper(NextTokenLoss(model), OptimiserConfig())


def _run(stepper: PlainStepper, store: CheckpointStore | None, steps: int, rows: int) -> float:
    """Seconds of training with a checkpoint after the first of ``steps`` steps."""
    chance = np.random.default_rng(3)
    ids = chance.integers(0, VOCABULARY, (rows, LENGTH))
    batch = collate([Row(x, np.roll(x, -1), np.zeros(LENGTH, np.int32)) for x in ids])
    started = time.monotonic()
    for step in range(steps):
        stepper.backward(stepper.loss(batch) / batch.loss_tokens, last=True)
        stepper.step(1e-4)
        if store is not None and step == 0:
            store.save(stepper, Cursor(step + 1, rows), [])
    if store is not None:
        store.wait(stepper)
    return time.monotonic() - started


def _extra(times: dict[str, list[float]], name: str) -> float:
    """Median of the seconds that a run takes more than the one without a checkpoint beside it."""
    return median(a - b for a, b in zip(times[name], times["none"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4, help="rows of 512 tokens a step")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    stepper = _stepper()
    times: dict[str, list[float]] = {"none": [], "sync": [], "async": []}
    with tempfile.TemporaryDirectory() as folder:
        stores: dict[str, Any] = {"none": None}
        for name in ("sync", "async"):
            policy = Policy(keep_last=1, asynchronous=name == "async")
            stores[name] = CheckpointStore(Path(folder) / name, prefix="bench", policy=policy)
        for store in stores.values():  # the first save of each touches fresh memory
            _run(stepper, store, 2, options.rows)
        for repeat in range(options.repeats):
            for store_ in stores.values():
                if store_ is not None:  # a step is saved once: begin again
                    for record in store_.records():
                        record.unlink()
            order = list(stores) if repeat % 2 else list(reversed(stores))
            for name in order:
                times[name].append(_run(stepper, stores[name], options.steps, options.rows))
            print(repeat, {name: round(times[name][-1], 2) for name in stores}, flush=True)
    ours, theirs = _extra(times, "async"), _extra(times, "sync")
    parameters = sum(int(np.prod(shape)) for shape in stepper.shapes().values())
    keep(
        "trainer-async-checkpoint",
        what=f"extra wall time of a run of {options.steps} steps for one checkpoint of "
        f"{parameters / 1e6:.0f}M parameters and state, asynchronous",
        ours=round(ours, 3),
        unit="s",
        peer="the same, synchronous",
        theirs=round(theirs, 3),
        ratio=round(ours / theirs, 3),
        goal="<= 0.25",
        met=ours / theirs <= 0.25,
    )


if __name__ == "__main__":
    main()
