"""The engine: the protocol's face over the thread that owns the model."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from contracts.engine import (
    Capability,
    EngineError,
    EngineRequest,
    EngineStats,
    Scored,
    TokenChunk,
)
from serving.engine.checks import check_ids, check_request
from serving.engine.errors import Interrupted
from serving.engine.gauges import Decoding
from serving.engine.guide import Guides
from serving.engine.loop import EngineLoop
from serving.engine.plan import Limits
from serving.engine.runner import ModelRunner
from serving.engine.score_task import ScoreTask
from serving.engine.steps import Stepper
from serving.engine.stream import Stream


class PagedEngine:
    """Continuous batching over a paged cache (contracts.engine.Engine).

    Where the runner has a width, the same request gives the same tokens and log-probs bit
    for bit whatever else runs, on one machine with one width and number of threads.
    """

    def __init__(
        self,
        runner: ModelRunner,
        limits: Limits,
        *,
        model_digest: str,
        guides: Guides,
        threads: int | None = None,
        updatable: bool = True,
    ) -> None:
        without = frozenset() if updatable else frozenset({Capability.UPDATE})
        self.capabilities = frozenset(Capability) - without
        self.model_digest = model_digest
        self._base_digest = model_digest
        self._runner = runner
        self._guides = guides
        self._stepper = Stepper(runner, limits)
        self._loop = EngineLoop(self._stepper, threads)

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenChunk]:
        """Stream the continuation; see the protocol."""
        check_request(request, self._runner.max_context, self._runner.vocab_size)
        guide = request.sampling.guide
        matcher = await asyncio.to_thread(self._guides.matcher, guide) if guide else None
        stream = Stream()
        self._loop.add(request, stream, matcher)
        finished = False
        try:
            while not finished:
                chunk = await stream.queue.get()
                finished = chunk.finish_reason is not None
                yield chunk
        finally:
            if not finished:
                self._loop.abort(request.id, stream)

    async def score(
        self, context_ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> list[Scored]:
        """Log-probs of each continuation; see the protocol."""
        for continuation in continuations or [()]:
            ids = [*context_ids, *continuation]
            check_ids(ids, self._runner.max_context, self._runner.vocab_size)
        task = ScoreTask(self._runner, self._stepper.scheduler, context_ids, continuations)
        done = False
        try:
            # One forward per turn of the engine, so that running requests keep stepping.
            while not done:
                done = await asyncio.wrap_future(self._loop.between_steps(task.turn))
        finally:
            if not done:
                with contextlib.suppress(Interrupted):
                    self._loop.between_steps(task.close)
        return task.results

    async def abort(self, request_id: str) -> None:
        """End a request within a step."""
        self._loop.abort(request_id)

    async def update_weights(self, state: dict[str, Any], policy_version: int) -> None:
        """Replace the weights between two steps.

        Running requests go on with the new weights over the keys and values of the old
        ones; every token says which version chose it.

        Raises:
            EngineError: names or shapes do not fit (the old weights stay), or the
                weights are packed to 4 bits.
        """
        if Capability.UPDATE not in self.capabilities:
            raise EngineError("update_weights: this model's weights are packed and fixed")
        work = partial(self._update, state, policy_version)
        await asyncio.wrap_future(self._loop.between_steps(work))

    def stats(self) -> EngineStats:
        """Current gauges."""
        scheduler = self._stepper.scheduler
        return EngineStats(
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            tokens_generated=self._stepper.generated,
            tokens_prefilled=self._stepper.prefilled,
            max_context=self._runner.max_context,
            blocks_used=scheduler.blocks.in_use,
            blocks_total=scheduler.blocks.usable,
            tokens_cached=scheduler.blocks.hits,
            preemptions=scheduler.preemptions,
        )

    @property
    def decoding(self) -> Decoding:
        """What the steps that only decoded did so far."""
        return self._stepper.decoding

    @property
    def runner(self) -> ModelRunner:
        """What runs the model."""
        return self._runner

    def close(self) -> None:
        """Abort what runs and stop the thread."""
        self._loop.close()

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs."""
        return self._loop.alive

    def _update(self, state: dict[str, Any], policy_version: int) -> None:
        self._runner.load_state(state)
        self._stepper.weights_changed(policy_version)
        self.model_digest = f"{self._base_digest}@{policy_version}"
