"""One optimisation step over a batch of samples, and the validation loss."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import torch

from clusters.failpoints import failpoint
from trainer.data.rows import Row, RowSource, collate, empty_row, micro_steps, rank_rows
from trainer.parallel.stepper import Stepper


@dataclass(frozen=True)
class Measured:
    """What a batch gave, over all ranks, before the weights are changed."""

    loss: float
    """Nats per loss token."""
    loss_tokens: int
    checksum: int
    """Of the samples and their numbers: alike for any number of ranks, see ``checksum_of``."""
    data_seconds: float
    """Time in which this rank waited for its rows."""
    samples: list[int]
    """This rank's."""
    rows: list[Row]
    trouble: bool
    """Some rank could not write its part of a checkpoint."""


def forward_backward(
    samples: list[int],
    source: RowSource,
    stepper: Stepper,
    rows_per_pass: int,
    prefix: str,
    trouble: bool = False,
) -> Measured:
    """Take the gradient of the mean loss over the loss tokens of all ``samples``.

    Args:
        samples: the whole batch; ranks take theirs round-robin.
        rows_per_pass: rows of one forward pass.
        prefix: of the failpoint in the middle.
        trouble: of this rank, shared with the others at no further cost.
    """
    started = time.monotonic()
    mine = [samples[i] for i in rank_rows(0, len(samples), stepper.data_rank, stepper.data_ranks)]
    rows = [source.row(k) for k in mine]
    data_seconds = time.monotonic() - started
    alike = stepper.world_size // stepper.data_ranks
    counted, checksum, troubled = stepper.total(
        [float(sum(row.loss_tokens for row in rows)), float(checksum_of(mine, rows)), trouble]
    )
    loss_tokens = counted / alike
    passes = micro_steps(len(samples), stepper.data_ranks, rows_per_pass)
    loss_sum = torch.zeros(())
    stepper.train(True)
    for number, chunk in enumerate(_padded(rows, passes, rows_per_pass, source.row_length), 1):
        loss = stepper.loss(collate(chunk))
        stepper.backward(loss / max(loss_tokens, 1.0), last=number == passes)
        loss_sum += loss.detach().cpu()
        failpoint(f"{prefix}.mid_step")
    (total,) = stepper.total([float(loss_sum)])
    return Measured(
        loss=total / max(loss_tokens, 1.0),
        loss_tokens=round(loss_tokens),
        checksum=round(checksum / alike),
        data_seconds=data_seconds,
        samples=mine,
        rows=rows,
        trouble=troubled > 0,
    )


def checksum_of(samples: list[int], rows: list[Row]) -> int:
    """Sum over the samples of crc32 of number, inputs and labels: proves what was trained.

    A sum, so that it does not depend on how ranks share the batch; exact in float64 for
    up to two million samples.
    """
    total = 0
    for k, row in zip(samples, rows, strict=True):
        seen = crc32(row.labels.tobytes(), crc32(row.inputs.tobytes(), crc32(str(k).encode())))
        total += seen
    return total


@torch.no_grad()
def validation_losses(
    rows_by_domain: dict[str, list[Row]], rows_per_pass: int, stepper: Stepper
) -> dict[str, float]:
    """Mean loss per domain, in nats per token; ranks share the rows."""
    stepper.train(False)
    alike = stepper.world_size // stepper.data_ranks
    losses = {}
    for domain, rows in rows_by_domain.items():
        total = 0.0
        passes = micro_steps(len(rows), stepper.data_ranks, rows_per_pass)
        mine = [rows[k] for k in rank_rows(0, len(rows), stepper.data_rank, stepper.data_ranks)]
        for chunk in _padded(mine, passes, rows_per_pass, len(rows[0].inputs)):
            total += float(stepper.loss(collate(chunk)))
        count = float(sum(row.loss_tokens for row in mine))
        total, count = stepper.total([total, count])
        losses[domain] = total * alike / max(count, 1.0)
    return losses


def _padded(rows: list[Row], passes: int, rows_per_pass: int, length: int) -> Iterator[list[Row]]:
    """``passes`` micro-batches of equal size; what is missing carries no loss."""
    missing = passes * rows_per_pass - len(rows)
    padded = rows + [empty_row(length)] * missing
    for start in range(0, len(padded), rows_per_pass):
        yield padded[start : start + rows_per_pass]
