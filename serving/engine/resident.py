"""Keys and values of decoding rows, kept side by side from step to step.

A decode step that gathers its rows' past from the paged cache copies all of it for every
layer, which takes longer than attending to it. Here each row has a place in a table of its
span; a step adds the new token, and only a row that was not there in the step before is
gathered. The paged cache stays what counts: every token is written there too, and a table
may be dropped at any time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from serving.engine.cache import PagedCache
from serving.engine.plan import Chunk

BUDGET_BYTES = 512 << 20
"""Bytes of all tables together; rows that do not fit are gathered at each step."""


@dataclass
class _Row:
    """Whose keys and values a row of a table holds."""

    chunk: Chunk
    preemptions: int

    def precedes(self, chunk: Chunk) -> bool:
        """Whether all but the newest token of ``chunk`` is there."""
        return (
            self.chunk.sequence is chunk.sequence
            and self.preemptions == chunk.sequence.preemptions
            and self.chunk.start + 1 == chunk.start
        )


@dataclass
class Table:
    """The rows of one span."""

    values: torch.Tensor
    """(layers, rows, 2, kv_heads, span, head_dim)."""
    rows: list[_Row | None]
    new: list[int]
    """Rows of this step that must be gathered."""

    def seen(self, layer: int, count: int) -> torch.Tensor:
        """Keys and values of the first rows, (2, rows, kv_heads, span, head_dim)."""
        return self.values[layer, :count].transpose(0, 1)

    def by_place(self, layer: int) -> torch.Tensor:
        """The same as the cache lays it out, (rows, span, 2, kv_heads, head_dim)."""
        return self.values[layer].permute(0, 3, 1, 2, 4)


class Residents:
    """A table per span, within a budget."""

    def __init__(self, cache: PagedCache, budget: int = BUDGET_BYTES) -> None:
        self._cache = cache
        self._budget = budget
        self._tables: dict[int, Table] = {}
        """The last used is the last."""

    def arrange(self, span: int, chunks: Sequence[Chunk]) -> list[Chunk]:
        """An order of a span's rows in which those that were there keep their places."""
        table = self._tables.get(span)
        rows = table.rows[: len(chunks)] if table is not None else []
        places = {id(row.chunk.sequence): place for place, row in enumerate(rows) if row}
        stay = {places[id(c.sequence)]: c for c in chunks if id(c.sequence) in places}
        others = iter([c for c in chunks if id(c.sequence) not in places])
        return [stay[i] if i in stay else next(others) for i in range(len(chunks))]

    def take(self, span: int, chunks: Sequence[Chunk]) -> Table | None:
        """The table for a step of some arranged rows; None where it would be too large."""
        table = self._tables.pop(span, None)
        if table is None or len(table.rows) < len(chunks):
            table = self._make(span, len(chunks))
            if table is None:
                return None
        self._tables[span] = table
        table.new = [i for i, c in enumerate(chunks) if not _is_next(table.rows[i], c)]
        for place, chunk in enumerate(chunks):
            table.rows[place] = _Row(chunk, chunk.sequence.preemptions)
        return table

    def forget(self) -> None:
        """Drop all tables: a step that failed may have left some layers behind others."""
        self._tables.clear()

    def _make(self, span: int, count: int) -> Table | None:
        size = self._cache.table_bytes(count, span)
        if size > self._budget:
            return None
        used = sum(table.values.nbytes for table in self._tables.values())
        while used + size > self._budget:
            oldest = next(iter(self._tables))
            used -= self._tables.pop(oldest).values.nbytes
        return Table(self._cache.table(count, span), [None] * count, [])


def _is_next(row: _Row | None, chunk: Chunk) -> bool:
    return row is not None and row.precedes(chunk)
