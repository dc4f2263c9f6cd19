"""Buckets, input buffers and padding of replayed steps; on a CPU the work itself is replayed."""

import random
from collections.abc import Callable

import pytest
import torch

from serving.engine.batch import Batch
from serving.engine.cache import PAD_WRITE
from serving.engine.plan import Chunk, Sequence
from serving.gpu.graphs import DecodeGraphs, StepShape, row_buckets

CPU = torch.device("cpu")
BLOCK, CONTEXT = 4, 40
SHAPE = StepShape(BLOCK, CONTEXT, (1, 2, 4, 6), lambda rows: 1)


def chunk_of(rng: random.Random, adapter: str | None = None) -> Chunk:
    """The newest token of a random sequence over random blocks."""
    length = rng.randint(1, CONTEXT)
    sequence = Sequence("s", [rng.randrange(1000) for _ in range(length)], 1, adapter=adapter)
    sequence.table.blocks[:] = rng.sample(range(1, 99), -(-length // BLOCK))
    return Chunk(sequence, length - 1, 1)


class Seen:
    """What a forward is given, as one number per row, and which batches it was."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def __call__(self, batch: Batch) -> torch.Tensor:
        self.batches.append(batch)
        assert batch.paged is not None
        rows = []
        lengths, tables = batch.paged.lengths.tolist(), batch.paged.tables.tolist()
        for row, length in enumerate(lengths):
            blocks = tables[row][: -(-length // BLOCK)]
            own = [batch.ids[0, row], batch.positions[0, row], batch.writes[row], length]
            rows.append([float(x) for x in [*own, *blocks, *[0] * (CONTEXT // BLOCK)]][:14])
        return torch.tensor(rows)


def expected(chunk: Chunk) -> list[float]:
    blocks = chunk.sequence.table.blocks
    write = blocks[chunk.start // BLOCK] * BLOCK + chunk.start % BLOCK
    own = [chunk.sequence.tokens[-1], chunk.start, write, chunk.start + 1, *blocks]
    return [float(x) for x in [*own, *[0] * 10]][:14]


def test_rows_arrive_and_the_rest_is_padding() -> None:
    rng = random.Random()
    seen = Seen()
    graphs = DecodeGraphs(seen, SHAPE, CPU)
    for _ in range(30):
        chunks = [chunk_of(rng) for _ in range(rng.randint(1, 6))]
        assert graphs.takes(chunks)
        got = graphs.run(chunks)
        assert got is not None
        assert got.tolist() == [expected(chunk) for chunk in chunks]
        batch = seen.batches[-1]
        assert batch.ids.shape[1] == next(n for n in SHAPE.rows if n >= len(chunks))
        assert batch.writes[len(chunks) :].eq(PAD_WRITE).all()
        assert batch.paged is not None
        assert batch.paged.lengths[len(chunks) :].eq(1).all()
        assert batch.paged.tables[len(chunks) :, 0].eq(0).all()


def test_each_size_is_captured_once_over_buffers_that_stay() -> None:
    captured = []

    def capture(work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        captured.append(work)
        return work

    seen = Seen()
    graphs = DecodeGraphs(seen, SHAPE, CPU, capture)
    graphs.capture_all()
    assert len(captured) == len(SHAPE.rows)
    rng = random.Random()
    for _ in range(3):
        graphs.run([chunk_of(rng) for _ in range(3)])
    assert len(captured) == len(SHAPE.rows)
    assert len({batch.ids.data_ptr() for batch in seen.batches}) == 1


def test_what_is_no_graph() -> None:
    rng = random.Random()
    graphs = DecodeGraphs(Seen(), SHAPE, CPU)
    assert not graphs.takes([])
    assert not graphs.takes([chunk_of(rng) for _ in range(7)])
    assert not graphs.takes([chunk_of(rng), chunk_of(rng, adapter="lora")])


def test_where_capture_fails_steps_run_without() -> None:
    def capture(work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = DecodeGraphs(Seen(), SHAPE, CPU, capture)
    chunks = [chunk_of(random.Random())]
    with pytest.warns(UserWarning, match="not permitted"):
        assert graphs.run(chunks) is None
    assert not graphs.takes(chunks)


def test_sizes() -> None:
    assert row_buckets(1, False) == (1,)
    assert row_buckets(8, False) == (1, 2, 4, 8)
    assert row_buckets(24, False) == (1, 2, 4, 8, 16, 24)
    assert row_buckets(24, True) == (24,)
