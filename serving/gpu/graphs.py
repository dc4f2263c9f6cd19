"""Decode steps as graphs that are captured once per number of rows and replayed.

A step of few rows is many short kernels, and starting them one by one takes longer than
running them. A graph starts all at once, but its shapes and addresses are fixed: so there is one
per number of rows in ``row_buckets``, over input buffers of its own; rows that are missing are
filled with padding, which reads and writes the cache's padding block.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from serving.engine.batch import Batch
from serving.engine.cache import PAD_WRITE
from serving.engine.plan import Chunk
from serving.gpu.paged_decode import PagedRows

Work = Callable[[], torch.Tensor]
Capture = Callable[[Work], Work]
_COLUMNS = 4
"""Ids, positions, writes and lengths."""


@dataclass(frozen=True)
class StepShape:
    """What is the same for all steps."""

    block_size: int
    max_context: int
    """Tokens of one sequence."""
    rows: tuple[int, ...]
    """Numbers of rows that graphs are captured for, ascending."""
    splits: Callable[[int], int]
    """Parts that rows are cut into, by their number."""

    @property
    def blocks(self) -> int:
        """Blocks of the longest sequence."""
        return -(-self.max_context // self.block_size)


class DecodeGraphs:
    """Runs steps of one token per sequence."""

    def __init__(
        self,
        forward: Callable[[Batch], torch.Tensor],
        shape: StepShape,
        device: torch.device,
        capture: Capture | None = None,
    ) -> None:
        """Nothing is captured yet.

        Args:
            forward: a batch's logits, (rows, vocabulary).
            shape: sizes of the steps.
            device: where they run.
            capture: makes something to replay of a piece of work; by default CUDA's graphs on a
                GPU, and the work itself elsewhere.
        """
        self._forward, self._shape, self._device = forward, shape, device
        self._capture = capture or (CudaCapture() if device.type == "cuda" else lambda work: work)
        self._steps: dict[int, _Step] = {}
        self._works = True

    def takes(self, chunks: Sequence[Chunk]) -> bool:
        """Whether these rows can run as a graph: not with adapters, and not too many."""
        fits = 0 < len(chunks) <= self._shape.rows[-1]
        return self._works and fits and all(c.sequence.adapter is None for c in chunks)

    def run(self, chunks: Sequence[Chunk]) -> torch.Tensor | None:
        """Logits of the rows, (rows, vocabulary), until the next run; None where capture failed."""
        size = next(rows for rows in self._shape.rows if rows >= len(chunks))
        step = self._steps.get(size)
        if step is None:
            step = self._made(size)
            if step is None:
                return None
        return step.run(chunks)

    def capture_all(self) -> None:
        """Capture every number of rows now, the largest first, instead of when it first comes."""
        for size in reversed(self._shape.rows):
            if self._works and size not in self._steps:
                self._made(size)

    def _made(self, size: int) -> "_Step | None":
        try:
            self._steps[size] = _Step(size, self._shape, self._device, self._forward, self._capture)
        except RuntimeError as error:
            self._works = False
            warnings.warn(f"decode runs without CUDA graphs: {error}", stacklevel=3)
            return None
        return self._steps[size]


class _Step:
    """The input buffers of one number of rows, and what is replayed over them."""

    def __init__(
        self,
        rows: int,
        shape: StepShape,
        device: torch.device,
        forward: Callable[[Batch], torch.Tensor],
        capture: Capture,
    ) -> None:
        self._shape = shape
        length = rows * (_COLUMNS + shape.blocks)
        pinned = device.type == "cuda"
        self._copied = torch.cuda.Event() if pinned else None
        self._host = torch.zeros(length, dtype=torch.int64, pin_memory=pinned)
        self._columns, self._tables = (part.numpy() for part in _split(self._host, rows))
        self._fill([])
        self._there = self._host.to(device)
        columns, tables = _split(self._there, rows)
        ids, positions, writes, lengths = columns
        batch = Batch(
            ids=ids[None],
            positions=positions[None],
            writes=writes,
            buckets=[],
            segments=[],
            order=[],
            last_rows=[],
            paged=PagedRows(tables, lengths, shape.block_size, shape.splits(rows)),
        )
        self._replay = capture(lambda: forward(batch))

    def run(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        """One copy to the device, and the replay."""
        if self._copied is not None:
            self._copied.synchronize()  # a step that chose no token was not waited for
        self._fill(chunks)
        self._there.copy_(self._host, non_blocking=True)
        if self._copied is not None:
            self._copied.record()
        return self._replay()[: len(chunks)]

    def _fill(self, chunks: Sequence[Chunk]) -> None:
        """The rows' numbers into the host's buffer, and padding behind them.

        What a row's table had beyond its blocks stays there: its length hides it.
        """
        size = self._shape.block_size
        ids, positions, writes, lengths = self._columns
        for row, chunk in enumerate(chunks):
            blocks = chunk.sequence.table.blocks
            block, offset = divmod(chunk.start, size)
            ids[row] = chunk.sequence.tokens[chunk.start]
            positions[row] = chunk.start
            writes[row] = blocks[block] * size + offset
            lengths[row] = chunk.start + 1
            self._tables[row, : block + 1] = blocks[: block + 1]
        rest = slice(len(chunks), None)
        ids[rest] = positions[rest] = 0
        writes[rest] = PAD_WRITE
        lengths[rest] = 1
        self._tables[rest, 0] = 0


class CudaCapture:
    """Captures work as CUDA graphs that share one pool of memory."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        """Run the work until its kernels are compiled and its libraries are ready; capture it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()
            work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            out = work()

        def replay() -> torch.Tensor:
            graph.replay()
            return out

        return replay


def row_buckets(most: int, fixed: bool) -> tuple[int, ...]:
    """Numbers of rows to capture: powers of two up to ``most``, and ``most`` itself.

    Args:
        most: rows of the largest step.
        fixed: every step has that many rows.
    """
    powers = [] if fixed else [1 << i for i in range(most.bit_length()) if 1 << i < most]
    return (*powers, most)


def _split(flat: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of (4, rows) columns and (rows, blocks) tables of a flat buffer."""
    cut = _COLUMNS * rows
    return flat[:cut].view(_COLUMNS, rows), flat[cut:].view(rows, -1)
