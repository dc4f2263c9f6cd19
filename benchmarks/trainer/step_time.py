"""Time of a training step: the loop's, a bare PyTorch loop's, transformers Trainer's.

The same model, batch (4 rows of 512 tokens), optimiser, clipping, threads and precision: bf16
products over fp32 weights. Sides take turns within one process; every figure is the median over
all their steps. The bare loop is timed in two ways to do the same, autocast over fp32 weights
and bf16 weights with fp32 copies; the faster one counts.

python -m benchmarks.trainer.step_time [--sizes 10M,50M] [--rounds 3] [--steps 6]
"""

import argparse
import gc
import logging
import os
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import nn

from benchmarks.report import keep
from benchmarks.trainer.step_models import LENGTH, ROWS, SIZES, RandomRows, Size
from trainer.config import OptimiserConfig
from trainer.models.llama import NextTokenLoss
from trainer.parallel.optimiser import make_optimiser
from trainer.parallel.plain import PlainStepper
from trainer.step import forward_backward

OPTIMISER = OptimiserConfig(lr=1e-4)
Side = Callable[[int], list[float]]
"""Takes so many steps; seconds of each."""


def timed(step: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of ``count`` steps."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return times


def ours(size: Size, rows: RandomRows, compiled: bool) -> Side:
    """The loop's own step, with its data, checksum and accounts."""
    stepper = PlainStepper(NextTokenLoss(size.model(), compiled=compiled), OPTIMISER)
    cursor = [0]

    def step() -> None:
        samples = list(range(cursor[0], cursor[0] + ROWS))
        forward_backward(samples, rows, stepper, ROWS, "bench")
        stepper.step(1e-4)
        cursor[0] += ROWS

    return lambda count: timed(step, count)


def bare(size: Size, rows: RandomRows, autocast: bool) -> Side:
    """As short a loop as PyTorch needs, with the model's own loss."""
    model = size.model(torch.float32 if autocast else torch.bfloat16)
    model.train()
    low = list(model.parameters())
    high = low if autocast else [nn.Parameter(p.detach().float()) for p in low]
    names = [name for name, _ in model.named_parameters()]
    optimiser = make_optimiser(list(zip(names, high, strict=True)), OPTIMISER)
    ids = torch.from_numpy(rows.ids)
    cursor = [0]

    def step() -> None:
        batch = ids[torch.arange(cursor[0], cursor[0] + ROWS) % len(ids)]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(input_ids=batch[:, :-1], use_cache=False).logits
        labels = batch[:, 1:].flatten()
        nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels).backward()
        for small, large in zip(low, high, strict=True):
            if small is not large:
                large.grad, small.grad = small.grad.float(), None
        nn.utils.clip_grad_norm_(high, OPTIMISER.grad_clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for small, large in zip(low, high, strict=True):
                if small is not large:
                    small.copy_(large)
        cursor[0] += ROWS

    return lambda count: timed(step, count)


class _Rows(torch.utils.data.Dataset):
    def __init__(self, rows: RandomRows) -> None:
        self._ids = torch.from_numpy(rows.ids[:, :-1].copy())

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, k: int) -> dict[str, torch.Tensor]:
        ids = self._ids[k % len(self._ids)]
        return {"input_ids": ids, "labels": ids}


def trainer(size: Size, rows: RandomRows, folder: str) -> Side:
    """The Trainer of transformers in bf16 on fp32 weights, its own way to do it."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            now = time.perf_counter()
            if self.times:
                self.times[-1] = now - self.times[-1]
            self.times.append(now)

        def on_train_end(self, *args: Any, **kwargs: Any) -> None:
            self.times.pop()  # the last step has no next one to end it

    model = size.model(torch.float32)

    def take(count: int) -> list[float]:
        clock = Clock()
        arguments = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=True,
            per_device_train_batch_size=ROWS,
            max_steps=count + 1,
            max_grad_norm=OPTIMISER.grad_clip,
            learning_rate=1e-4,
            weight_decay=OPTIMISER.weight_decay,
            adam_beta2=OPTIMISER.beta2,
            lr_scheduler_type="constant",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        Trainer(model=model, args=arguments, train_dataset=_Rows(rows), callbacks=[clock]).train()
        return clock.times

    return take


def measure(sides: dict[str, Callable[[], Side]], rounds: int, steps: int) -> dict[str, float]:
    """Median seconds of a step of each side; sides take turns, the first steps do not count."""
    made = {name: make() for name, make in sides.items()}
    for side in made.values():
        side(2)
    times: dict[str, list[float]] = {name: [] for name in made}
    for number in range(rounds):
        for name, side in made.items():
            gc.collect()
            times[name] += side(steps)
        print(number, {name: round(median(found), 4) for name, found in times.items()}, flush=True)
    return {name: median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10M,50M")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="of each side and round")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    logging.getLogger("transformers").setLevel(logging.ERROR)
    for name in options.sizes.split(","):
        size = SIZES[name]
        rows = RandomRows(size.vocabulary)
        with tempfile.TemporaryDirectory() as folder:
            sides = {
                "ours": lambda size=size, rows=rows: ours(size, rows, False),
                "bare, autocast": lambda size=size, rows=rows: bare(size, rows, True),
                "bare, copies": lambda size=size, rows=rows: bare(size, rows, False),
                "Trainer": lambda size=size, rows=rows, f=folder: trainer(size, rows, f),
                "ours, compiled": lambda size=size, rows=rows: ours(size, rows, True),
            }
            found = measure(sides, options.rounds, options.steps)
            report(name, found, options.threads)


def report(size: str, seconds: dict[str, float], threads: int) -> None:
    """Three comparisons of one size."""
    rounded = {side: round(value, 4) for side, value in seconds.items()}
    batch = (
        f"{size} parameters, {ROWS} x {LENGTH} tokens, bf16 over fp32 weights, {threads} threads"
    )
    load = round(os.getloadavg()[0], 1)
    bare_name = min(("bare, autocast", "bare, copies"), key=lambda side: seconds[side])
    most = {"10M": 1.15}.get(size, 1.05)
    ratio = seconds["ours"] / seconds[bare_name]
    keep(
        f"trainer-step-{size.lower()}-bare",
        what=f"step of the loop, {batch}",
        ours=rounded["ours"],
        unit="s",
        peer=f"a {bare_name.replace('bare,', 'bare loop,')}",
        theirs=rounded[bare_name],
        ratio=round(ratio, 3),
        goal=f"<= {most}",
        met=ratio <= most,
        seconds=rounded,
        load=load,
    )
    tokens = ROWS * LENGTH
    for side, least in (("ours", 1.0), ("ours, compiled", 1.2)):
        gain = seconds["Trainer"] / seconds[side]
        end = "plain" if side == "ours" else "compiled"
        keep(
            f"trainer-step-{size.lower()}-trainer-{end}",
            what=f"speed of the loop, {end}, {batch}",
            ours=round(tokens / seconds[side]),
            unit="tokens/s",
            peer="transformers Trainer",
            theirs=round(tokens / seconds["Trainer"]),
            ratio=round(gain, 3),
            goal=f">= {least}",
            met=gain >= least,
            seconds=rounded,
            load=load,
        )


if __name__ == "__main__":
    main()
