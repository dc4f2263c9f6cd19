"""Scores continuations of one context a forward at a time, between the engine's steps."""

from collections.abc import Iterator, Sequence

import torch

from contracts.engine import Scored
from serving.engine.blocks import OutOfBlocks
from serving.engine.plan import Chunk
from serving.engine.plan import Sequence as Scheduled
from serving.engine.runner import ModelRunner
from serving.engine.scheduler import Scheduler
from serving.engine.scoring import Pack, packs


class ScoreTask:
    """One call of ``score``. Its methods run in the engine's thread."""

    def __init__(
        self,
        runner: ModelRunner,
        scheduler: Scheduler,
        context: Sequence[int],
        continuations: Sequence[Sequence[int]],
        adapter: str | None = None,
        root: int = 0,
    ) -> None:
        self.results: list[Scored] = []
        self._runner = runner
        self._scheduler = scheduler
        # It stands in the scheduler's line for its blocks, and is never planned.
        self._context = Scheduled("score", list(context), len(context), adapter=adapter, root=root)
        self._packs: Iterator[Pack] = packs(len(context), continuations)
        self._last: torch.Tensor | None = None
        self._weights = scheduler.weights

    def turn(self) -> bool:
        """One forward, or none where the cache has no room yet; True when all is scored."""
        try:
            return self._turn()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the context's blocks, or its place in line, back."""
        self._leave_line()
        self._scheduler.blocks.release(self._context.table)

    def _turn(self) -> bool:
        if self._last is None:
            if not self._open():
                return False
            self._last = self._runner.no_hidden()
        chunk = self._next_chunk()
        ready = chunk is None or self._ends_in(chunk)
        pack = next(self._packs, None) if ready else None
        if ready and pack is None:
            self.close()
            return True
        blocks = self._context.table.blocks
        self._last, rows = self._runner.score(
            chunk, pack, blocks, self._last, self._context.adapter
        )
        self.results += rows
        if chunk is not None:
            self._context.computed = chunk.start + chunk.count
            self._publish()
        return False

    def _ends_in(self, chunk: Chunk) -> bool:
        """Whether continuations may be computed with this chunk of the context."""
        limits = self._scheduler.limits
        if limits.fixed_chunks and chunk.count == limits.chunk:
            return False  # others may find it: it is computed alone, as theirs would be
        return chunk.start + chunk.count == len(self._context.tokens)

    def _open(self) -> bool:
        """Take the blocks of the context; False while others are first or too few are free."""
        context = self._context
        if not context.tokens:
            return True
        if not context.arrival:
            self._scheduler.add_context(context)
        if not self._scheduler.is_next(context):
            return False
        self._weights = self._scheduler.weights
        context.table, context.computed = self._scheduler.known(
            context.tokens, len(context.tokens), context.root
        )
        try:
            self._scheduler.blocks.grow(context.table, len(context.tokens))
        except OutOfBlocks:
            self._scheduler.blocks.release(context.table)
            return False
        self._leave_line()
        self._scheduler.blocks.hits += context.computed
        return True

    def _leave_line(self) -> None:
        if self._context in self._scheduler.contexts:
            self._scheduler.contexts.remove(self._context)

    def _next_chunk(self) -> Chunk | None:
        left = len(self._context.tokens) - self._context.computed
        count = min(left, self._scheduler.limits.chunk)
        return Chunk(self._context, self._context.computed, count) if count else None

    def _publish(self) -> None:
        context = self._context
        if self._weights != self._scheduler.weights:
            return
        self._scheduler.publish(context.table, context.tokens, context.computed)
