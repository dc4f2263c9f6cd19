"""One forward as tensors: which tokens, at which positions, over which cache places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from serving.engine.cache import PAD_READ, PAD_WRITE
from serving.engine.plan import Chunk
from serving.engine.resident import Residents, Table
from serving.engine.scoring import Pack
from serving.gpu.paged_decode import PagedRows

_STEP = 64
"""Places a decode bucket is a multiple of, up to ``_FINE``; longer ones grow by a quarter."""
_FINE = 512


@dataclass(frozen=True)
class Bucket:
    """Decode rows of like length: rows ``first`` to ``first + count``."""

    first: int
    count: int
    places: torch.Tensor
    """(count * span,): cache places of each row's tokens, padded."""
    mask: torch.Tensor
    """(count, 1, 1, span), 0 where a row may look and -inf where not."""
    resident: "Resident | None" = None
    """Where the rows' keys and values lie side by side; None where they must be gathered."""


@dataclass(frozen=True)
class Resident:
    """A bucket's rows in their table."""

    table: Table
    rows: torch.Tensor
    """0 to count - 1."""
    ends: torch.Tensor
    """(count,): where in its row each newest token goes."""
    new: torch.Tensor
    """Rows that must be gathered first."""
    new_places: torch.Tensor
    """(new rows * span,): cache places of theirs."""


@dataclass(frozen=True)
class Segment:
    """Rows ``first`` to ``first + count``: neighbouring tokens of one sequence."""

    first: int
    count: int
    places: torch.Tensor
    """Cache places of the sequence: those before its rows and, where they are written, theirs."""
    past: int
    """Places before the rows."""
    mask: torch.Tensor | None = None
    """(count, past + count): True where a row may look; None is causal behind the past."""
    apart: bool = False
    """The rows' own keys and values stay out of the cache: continuations that are scored."""


@dataclass(frozen=True)
class Batch:
    """Everything that one forward needs."""

    ids: torch.Tensor
    positions: torch.Tensor
    """Both (1, rows)."""
    writes: torch.Tensor
    """(rows,): where each row's keys and values go."""
    buckets: list[Bucket]
    segments: list[Segment]
    order: list[Chunk]
    """Chunks in row order, padding left out."""
    last_rows: list[int]
    """Last row of each chunk in ``order``."""
    paged: PagedRows | None = None
    """The first rows, where a kernel reads their pages; there are no buckets then."""
    lengths: torch.Tensor | None = None
    """(1, rows): how long the text counts that each row is of, where rotary angles follow it
    (``serving.engine.rotary``); None is as long as up to the row."""

    @property
    def decodes(self) -> bool:
        """Whether it has rows that decode."""
        return self.paged is not None or bool(self.buckets)


def causal_mask(count: int, past: int, device: torch.device) -> torch.Tensor:
    """True where each of ``count`` rows behind ``past`` places may look, (count, past + count)."""
    return torch.ones(count, past + count, dtype=torch.bool, device=device).tril_(past)


def span_for(length: int) -> int:
    """Places that a decode row of this length is padded to; it depends on nothing else."""
    if length <= _FINE:
        return -(-length // _STEP) * _STEP
    step = 1 << max(6, (length - 1).bit_length() - 3)
    return -(-length // step) * step


class BatchBuilder:
    """Turns chunks into batches."""

    def __init__(
        self,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
        residents: Residents | None = None,
        splits: Callable[[int], int] | None = None,
        trained: int | None = None,
    ) -> None:
        """Where ``splits`` is given, a kernel reads the pages: parts per row, by the number of
        rows. ``trained``: see ``serving.engine.rotary.trained_context``.
        """
        self._trained = trained
        self._splits = splits
        self._block_size = block_size
        self.dtype = dtype
        self._device = device
        self._residents = residents

    def build(
        self,
        decode: Sequence[Chunk],
        prefill: Sequence[Chunk],
        width: int = 0,
        pack: Pack | None = None,
        context: Sequence[int] = (),
    ) -> Batch:
        """The batch of some chunks.

        Args:
            decode: chunks of one token each.
            prefill: chunks of prompts.
            width: decode rows to pad to.
            pack: continuations to compute behind them, apart from the cache.
            context: cache blocks of what the continuations continue.
        """
        rows = self._in_row_order(decode)
        padding = max(0, width - len(rows)) if rows else 0
        ids, positions, writes = [], [], []
        for chunk in rows:
            ids.append(chunk.sequence.tokens[chunk.start])
            positions.append(chunk.start)
            writes.append(self._place(chunk))
        ids += [0] * padding
        positions += [0] * padding
        writes += [PAD_WRITE] * padding
        lengths = [position + 1 for position in positions]
        segments = []
        last_rows = list(range(len(rows)))
        for chunk in prefill:
            end = chunk.start + chunk.count
            places = self.places(chunk.sequence.table.blocks, end)
            segments.append(self._segment(chunk, len(ids), places))
            ids += chunk.sequence.tokens[chunk.start : end]
            positions += range(chunk.start, end)
            whole = chunk.sequence.prompt_length
            lengths += [max(whole, place + 1) for place in range(chunk.start, end)]
            writes += places[chunk.start :].tolist()
            last_rows.append(len(ids) - 1)
        if pack is not None and pack.ids():
            past = self._to(self.places(context, pack.context_length))
            mask = pack.mask(self._device)
            rows_of = len(pack.ids())
            segments.append(Segment(len(ids), rows_of, past, len(past), mask, apart=True))
            ids += pack.ids()
            positions += pack.positions()
            lengths += pack.lengths()
            writes += [PAD_WRITE] * rows_of
        return Batch(
            ids=torch.tensor([ids], device=self._device),
            positions=torch.tensor([positions], device=self._device),
            writes=torch.tensor(writes, device=self._device),
            buckets=[] if self._splits else self._buckets(rows, padding),
            segments=segments,
            order=[*rows, *prefill],
            last_rows=last_rows,
            paged=self._paged(rows, padding) if self._splits and rows else None,
            lengths=None if self._trained is None else torch.tensor([lengths], device=self._device),
        )

    def places(self, blocks: Sequence[int], count: int) -> np.ndarray:
        """Cache places of a sequence's first ``count`` tokens."""
        size = self._block_size
        starts = np.asarray(blocks[: -(-count // size)], dtype=np.int64) * size
        return (starts[:, None] + np.arange(size)).reshape(-1)[:count]

    def _segment(self, chunk: Chunk, first: int, places: np.ndarray) -> Segment:
        past = chunk.start
        # A GPU has kernels that know where the past ends.
        masked = past and self._device.type == "cpu"
        mask = causal_mask(chunk.count, past, self._device) if masked else None
        return Segment(first, chunk.count, self._to(places), past, mask)

    def _place(self, chunk: Chunk) -> int:
        block, offset = divmod(chunk.start, self._block_size)
        return chunk.sequence.table.blocks[block] * self._block_size + offset

    def _in_row_order(self, decode: Sequence[Chunk]) -> list[Chunk]:
        """By span, and within a span as their table has them; any order suits a kernel."""
        if self._splits:
            return list(decode)
        by_span: dict[int, list[Chunk]] = {}
        for chunk in decode:
            by_span.setdefault(span_for(chunk.start + 1), []).append(chunk)
        if self._residents is not None:
            by_span = {span: self._residents.arrange(span, c) for span, c in by_span.items()}
        return [chunk for span in sorted(by_span) for chunk in by_span[span]]

    def _paged(self, rows: list[Chunk], padding: int) -> PagedRows:
        assert self._splits is not None
        count = len(rows) + padding
        blocks = [c.sequence.table.blocks[: c.start // self._block_size + 1] for c in rows]
        tables = np.zeros((count, max(map(len, blocks))), dtype=np.int64)
        lengths = np.ones(count, dtype=np.int64)
        for row, (chunk, own) in enumerate(zip(rows, blocks, strict=True)):
            tables[row, : len(own)] = own
            lengths[row] = chunk.start + 1
        sizes = self._block_size, self._splits(count)
        return PagedRows(self._to(tables), self._to(lengths), *sizes)

    def _buckets(self, rows: list[Chunk], padding: int) -> list[Bucket]:
        lengths = [chunk.start + 1 for chunk in rows]
        buckets = []
        first = 0
        while first < len(rows):
            span = span_for(lengths[first])
            count = sum(1 for length in lengths[first:] if span_for(length) == span)
            buckets.append(self._bucket(rows[first : first + count], first, span))
            first += count
        if padding:
            buckets.append(self._bucket([], first, _STEP, padding))
        return buckets

    def _bucket(self, rows: list[Chunk], first: int, span: int, padding: int = 0) -> Bucket:
        count = len(rows) + padding
        places = np.full((count, span), PAD_READ, dtype=np.int64)
        lengths = np.ones(count, dtype=np.int64)
        for row, chunk in enumerate(rows):
            lengths[row] = chunk.start + 1
            places[row, : lengths[row]] = self.places(chunk.sequence.table.blocks, chunk.start + 1)
        mask = torch.zeros(count, 1, 1, span, dtype=self.dtype)
        hidden = torch.from_numpy(np.arange(span) >= lengths[:, None])
        mask.masked_fill_(hidden[:, None, None], -torch.inf)
        resident = self._resident(rows, places, lengths) if rows else None
        flat = self._to(places.reshape(-1))
        return Bucket(first, count, flat, mask.to(self._device), resident)

    def _resident(
        self, rows: list[Chunk], places: np.ndarray, lengths: np.ndarray
    ) -> Resident | None:
        if self._residents is None:
            return None
        table = self._residents.take(places.shape[1], rows)
        if table is None:
            return None
        new = np.asarray(table.new, dtype=np.int64)
        return Resident(
            table=table,
            rows=torch.arange(len(rows), device=self._device),
            ends=self._to(lengths - 1),
            new=self._to(new),
            new_places=self._to(places[new].reshape(-1)),
        )

    def _to(self, places: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(places).to(self._device)
