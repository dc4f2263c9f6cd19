"""The training loop: one for every objective, and for one process or many.

Every rank runs it. Sample numbers decide everything: step s trains samples
``s * batch .. (s + 1) * batch``, ranks take them round-robin, and the loss is
normalised by the number of loss tokens in the whole batch.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from clusters.failpoints import failpoint
from clusters.stage import StageError
from trainer.checkpoint import CheckpointStore
from trainer.config import OptimiserConfig
from trainer.data.rows import Row, RowSource, collate, empty_row, micro_steps, rank_rows
from trainer.metrics import MetricsLog
from trainer.parallel.stepper import Stepper
from trainer.schedule import learning_rate


class TrainingDiverged(StageError):
    """The loss or the gradient is no longer a number."""


@dataclass(frozen=True)
class LoopPlan:
    """What the loop does, once configs and data are known."""

    total_steps: int
    batch: int
    """Rows per step, over all ranks."""
    micro_batch: int
    validation_every: int
    checkpoint_every: int
    optimiser: OptimiserConfig
    prefix: str
    """Failpoint prefix, e.g. ``trainer.pretrain``."""

    def lr(self, step: int) -> float:
        """Learning rate of a 0-based step."""
        return learning_rate(
            step,
            peak=self.optimiser.lr,
            warmup_steps=self.optimiser.warmup_steps,
            total_steps=self.total_steps,
            final_ratio=self.optimiser.final_lr_ratio,
        )


def train(
    plan: LoopPlan,
    source: RowSource,
    stepper: Stepper,
    checkpoints: CheckpointStore,
    log: MetricsLog,
) -> None:
    """Train to the end, from the newest checkpoint if there is one.

    Raises:
        TrainingDiverged: loss or gradient norm became NaN or infinite.
        CheckpointError: checkpoints are there but none can be resumed from.
    """
    validation = source.validation()
    done = 0
    resumed = checkpoints.resume(stepper, log.say)
    if resumed is None:
        log.validation(0, 0, validation_losses(validation, plan.micro_batch, stepper))
    else:
        record, lines = resumed
        done = record.step
        log.resume(lines, record.step, record.samples)
    for step in range(done, plan.total_steps):
        started = time.monotonic()
        train_step(plan, step, source, stepper, log, started)
        taken = step + 1
        last = taken == plan.total_steps
        if last or taken % plan.validation_every == 0:
            losses = validation_losses(validation, plan.micro_batch, stepper)
            log.validation(taken, taken * plan.batch, losses)
        if last or taken % plan.checkpoint_every == 0:
            checkpoints.save(stepper, taken, taken * plan.batch, log.lines)


def train_step(
    plan: LoopPlan,
    step: int,
    source: RowSource,
    stepper: Stepper,
    log: MetricsLog,
    started: float,
) -> None:
    """One optimisation step over ``plan.batch`` samples."""
    rows = [
        source.row(k)
        for k in rank_rows(step * plan.batch, plan.batch, stepper.rank, stepper.world_size)
    ]
    data_seconds = time.monotonic() - started
    (loss_tokens,) = stepper.total([float(sum(row.loss_tokens for row in rows))])
    passes = micro_steps(plan.batch, stepper.world_size, plan.micro_batch)
    loss_sum = 0.0
    stepper.train(True)
    for chunk in _padded(rows, passes, plan.micro_batch, source.row_length):
        loss = stepper.loss(collate(chunk))
        stepper.backward(loss / max(loss_tokens, 1.0))
        loss_sum += float(loss.detach())
        failpoint(f"{plan.prefix}.mid_step")
    (loss_sum,) = stepper.total([loss_sum])
    lr = plan.lr(step)
    mean = loss_sum / max(loss_tokens, 1.0)
    norm = stepper.step(lr)
    if not (math.isfinite(mean) and math.isfinite(norm)):
        raise TrainingDiverged(
            f"step {step + 1}: loss {mean}, gradient norm {norm}, learning rate {lr:.3g}; "
            "lower optimiser.lr or raise optimiser.warmup_steps"
        )
    log.step(
        step + 1,
        samples=(step + 1) * plan.batch,
        loss=mean,
        lr=lr,
        grad_norm=norm,
        loss_tokens=int(loss_tokens),
        tokens=plan.batch * source.row_length,
        seconds=time.monotonic() - started,
        data_seconds=data_seconds,
    )


@torch.no_grad()
def validation_losses(
    rows_by_domain: dict[str, list[Row]], micro_batch: int, stepper: Stepper
) -> dict[str, float]:
    """Mean loss per domain, in nats per token; ranks share the rows."""
    stepper.train(False)
    losses = {}
    for domain, rows in rows_by_domain.items():
        total, count = 0.0, 0.0
        passes = micro_steps(len(rows), stepper.world_size, micro_batch)
        mine = [rows[k] for k in rank_rows(0, len(rows), stepper.rank, stepper.world_size)]
        for chunk in _padded(mine, passes, micro_batch, len(rows[0].inputs)):
            batch = collate(chunk)
            total += float(stepper.loss(batch))
            count += batch.loss_tokens
        total, count = stepper.total([total, count])
        losses[domain] = total / max(count, 1.0)
    return losses


def _padded(rows: list[Row], passes: int, micro_batch: int, length: int) -> Iterator[list[Row]]:
    """``passes`` micro-batches of equal size; what is missing carries no loss."""
    missing = passes * micro_batch - len(rows)
    padded = rows + [empty_row(length)] * missing
    for start in range(0, len(padded), micro_batch):
        yield padded[start : start + micro_batch]
