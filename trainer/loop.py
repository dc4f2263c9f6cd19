"""The training loop: one for every objective, and for one process or many.

Every rank runs it. Sample numbers decide everything: the cursor says which samples come
next, ranks take them round-robin, and the loss is normalised by the number of loss
tokens in the whole batch.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainer.bad_steps import SpikeWatch, TrainingDiverged, write_batch
from trainer.checkpoint import CheckpointStore
from trainer.config import BadStepConfig, OptimiserConfig
from trainer.cursor import Cursor, Ranges
from trainer.data.rows import RowSource
from trainer.metrics import LOSS_DIGITS, MetricsLog
from trainer.observe.speed import attended_length
from trainer.parallel.stepper import Stepper
from trainer.schedule import learning_rate
from trainer.step import Measured, forward_backward, validation_losses


@dataclass(frozen=True)
class LoopPlan:
    """What the loop does, once configs and data are known."""

    total_steps: int
    batch: int
    """Rows per step, over all ranks."""
    micro_batch: int
    """Rows of one forward pass."""
    validation_every: int
    checkpoint_every: int
    optimiser: OptimiserConfig
    prefix: str
    """Failpoint prefix, e.g. ``trainer.pretrain``."""
    bad_steps: BadStepConfig = field(default_factory=BadStepConfig)
    skipped: Ranges = ()
    """Samples that are left out from the start."""
    may_overflow: bool = False
    """fp16: a gradient that overflows is part of finding the loss scale, no bad step while
    the scale can be lowered."""
    bad_folder: Path | None = None
    """Where the batch of a bad step is written; None writes none."""

    def lr(self, step: int) -> float:
        """Learning rate of a 0-based step."""
        return learning_rate(step, self.total_steps, self.optimiser)


def train(
    plan: LoopPlan,
    source: RowSource,
    stepper: Stepper,
    checkpoints: CheckpointStore,
    log: MetricsLog,
    leaving: Callable[[], bool] = lambda: False,
) -> Ranges:
    """Train to the end, from the newest checkpoint if there is one.

    Args:
        leaving: asked by all ranks after each step; true when a node is about to go, so
            that a checkpoint is due at once.

    Returns:
        The ranges of samples that were left out.

    Raises:
        TrainingDiverged: a bad step, and the policy is to stop.
        CheckpointError: checkpoints are there but none can be resumed from, or one
            cannot be written.
    """
    training = _Training(plan, source, stepper, checkpoints, log)
    training.run(leaving)
    return training.cursor.skipped


class _Training:
    """The state of a run between steps."""

    def __init__(
        self,
        plan: LoopPlan,
        source: RowSource,
        stepper: Stepper,
        checkpoints: CheckpointStore,
        log: MetricsLog,
    ) -> None:
        self.plan, self.source, self.stepper = plan, source, stepper
        self.checkpoints, self.log = checkpoints, log
        self.cursor = Cursor(skipped=plan.skipped)
        self.watch = SpikeWatch(plan.bad_steps)
        self.held_out = source.validation()

    def run(self, leaving: Callable[[], bool]) -> None:
        if not self.resume():
            self.validate()
        saved_for_leaving = False
        while self.cursor.step < self.plan.total_steps:
            before = self.cursor.step
            self.step()
            taken = self.cursor.step
            if taken <= before:  # a bad step: what stands was validated and saved in its turn
                continue
            last = taken == self.plan.total_steps
            if last or taken % self.plan.validation_every == 0:
                self.validate()
            going = leaving() and not saved_for_leaving
            if last or going or taken % self.plan.checkpoint_every == 0:
                self.save(at_once=going)
                saved_for_leaving |= going
        self.checkpoints.wait(self.stepper)

    def resume(self) -> bool:
        """Go on from the newest checkpoint; false where there is none."""
        found = self.checkpoints.resume(self.stepper, self.log.say)
        if found is None:
            return False
        record, lines = found
        self.cursor = Cursor(record.step, record.samples, tuple(record.skipped))
        steps = [entry for entry in map(json.loads, lines) if entry.get("loss_tokens")]
        self.watch.fill([entry["loss"] for entry in steps])
        self.log.resume(lines, record.step, record.samples)
        return True

    def validate(self) -> None:
        losses = validation_losses(self.held_out, self.plan.micro_batch, self.stepper)
        self.log.validation(self.cursor.step, self.cursor.samples, losses)

    def save(self, at_once: bool = False) -> None:
        started = time.monotonic()
        self.checkpoints.save(self.stepper, self.cursor, self.log.lines)
        if at_once:
            self.checkpoints.wait(self.stepper)
        self.log.saved(self.cursor.step, time.monotonic() - started)

    def step(self) -> None:
        """Train one batch, or do with it what the policy for bad steps says."""
        started = time.monotonic()
        samples, after = self.cursor.next_batch(self.plan.batch)
        measured = forward_backward(
            samples,
            self.source,
            self.stepper,
            self.plan.micro_batch,
            self.plan.prefix,
            self.checkpoints.failed,
        )
        if measured.trouble:
            self.checkpoints.raise_failure()
        problem = self.watch.problem(measured.loss)
        if problem:
            self.stepper.discard()
            self.handle(problem, measured, samples, after)
            return
        lr = self.plan.lr(self.cursor.step)
        result = self.stepper.step(lr)
        if result.skipped and self.plan.may_overflow and result.loss_scale > 1.0:
            self.log.say(f"step {after.step}: the gradient overflowed, the loss scale is halved")
        else:
            problem = self.watch.problem(measured.loss, result.grad_norm)
            if problem:
                self.handle(problem, measured, samples, after)
                return
        self.cursor = after
        if measured.loss_tokens:  # without any its loss is 0, and the next one were a leap
            self.watch.good(round(measured.loss, LOSS_DIGITS))  # as a restart reads it again
        self.log.step(
            after.step,
            samples=after.samples,
            loss=measured.loss,
            lr=lr,
            grad_norm=result.grad_norm,
            loss_tokens=measured.loss_tokens,
            data=measured.checksum,
            tokens=self.plan.batch * self.source.row_length,
            seconds=time.monotonic() - started,
            data_seconds=measured.data_seconds,
            attended=attended_length(measured.rows),
        )

    def _written(self, measured: Measured, step: int) -> str:
        """Write this rank's part of a bad batch; says where it is, or why it is nowhere."""
        folder = self.plan.bad_folder
        if folder is None or not measured.samples:
            return ""
        try:
            write_batch(folder, step, self.stepper.rank, measured.samples, measured.rows)
        except OSError as error:  # what was wrong with the step matters more
            return f"; its batch could not be written: {error}"
        return f"; its batch is in {folder}"

    def handle(self, problem: str, measured: Measured, samples: list[int], after: Cursor) -> None:
        """A bad step: its weights were not changed. Stop, skip it, or rewind."""
        plan = self.plan
        # Every bad step so far left out a range; counted so, a restart forgets none.
        bad = len(self.cursor.skipped) - len(plan.skipped) + 1
        where = f"step {after.step}: {problem} on samples {samples[0]} to {samples[-1]}"
        self.log.bad_step(after.step, samples, measured.loss, measured.checksum)
        where += self._written(measured, after.step)
        action, most = plan.bad_steps.action, plan.bad_steps.at_most
        if action == "stop" or bad > most:
            other = "set bad_steps.action to skip or rewind"
            if action != "stop":
                where += f"; bad step {bad} of the run, bad_steps.at_most is {most}"
                other = "raise bad_steps.at_most"
            raise TrainingDiverged(
                f"{where}; lower optimiser.lr or raise optimiser.warmup_steps, or {other}: a "
                "changed config is a run of its own, from step 0"
            )
        self.log.say(f"{where}; {action}")
        skipped = self.cursor.skipping(samples[0], samples[-1] + 1 - samples[0]).skipped
        bad_step, bad_end, told = after.step, after.samples, self.log.left_out_lines
        self.checkpoints.wait(self.stepper)
        if action == "rewind" and self.stepper.share(bool(self.checkpoints.records())):
            self.resume()
            self.log.keep_left_out(told)
            after = self.cursor
        self.cursor = Cursor(self.cursor.step, after.samples, skipped)
        self.log.left_out(
            bad_step,
            samples=bad_end,
            batch=samples,
            loss=measured.loss,
            data=measured.checksum,
        )
