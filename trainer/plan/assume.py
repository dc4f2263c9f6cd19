"""What published tables leave out of a run, worked out from what they say."""

from trainer.plan.layout import Layout
from trainer.plan.memory import ledger
from trainer.plan.model import Shape, shape_of_size
from trainer.plan.table import Row


def row_layout(row: Row, micro_sequences: float) -> Layout:
    """The layout of a row, its step cut in passes of ``micro_sequences`` per replica."""
    replicas = row.gpus // row.tensor
    zero = {"ddp": 0, "fsdp": 3}.get(row.shard, 1)
    group = int(row.shard) if row.shard.isdigit() else replicas
    sequences = row.step_tokens * row.tensor / row.length
    steps = max(1, round(sequences / micro_sequences))
    return Layout(
        gpus=row.gpus,
        zero=zero,
        shard_group=1 if zero == 0 else group,
        micro_sequences=max(1, round(sequences / steps)),
        accumulation=steps,
        tensor=row.tensor,
        recompute=row.recompute,
        fp32_sums=False,  # of other systems the tables say nothing; bf16 gives their micro-batches
    )


def row_shape(row: Row) -> Shape:
    """The shape of a row's model, of which tables give the size only."""
    return shape_of_size(row.model, row.parameters, row.layers, row.hidden)


def micro_sequences(row: Row) -> int:
    """Sequences of a forward pass, which tables leave out: the most that fit the GPU.

    A power of two, by the memory ledger; 1 where not even that fits.
    """
    shape = row_shape(row)
    most = max(1, int(row.step_tokens * row.tensor / row.length))
    fits = 1
    while 2 * fits <= most and _fits(shape, row, 2 * fits):
        fits *= 2
    return fits


def _fits(shape: Shape, row: Row, sequences: int) -> bool:
    layout = row_layout(row, sequences)
    return ledger(shape, layout, row.length).total <= row.cluster.gpu.memory
