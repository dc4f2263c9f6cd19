"""The engine: the protocol's face over the thread that owns the model."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from contracts.engine import (
    Capability,
    EngineError,
    EngineRequest,
    EngineStats,
    InvalidToken,
    PromptTooLong,
    Scored,
    TokenChunk,
)
from serving.engine.loop import EngineLoop
from serving.engine.runner import ModelRunner
from serving.engine.scoring import packs
from serving.engine.stream import Stream


class SlotEngine:
    """Continuous batching over a fixed number of cache slots (contracts.engine.Engine).

    The same request gives the same tokens and log-probs bit for bit whatever else runs,
    on one machine with one number of slots and threads.
    """

    def __init__(
        self,
        runner: ModelRunner,
        *,
        model_digest: str,
        threads: int | None = None,
        updatable: bool = True,
    ) -> None:
        base = {Capability.IDS, Capability.SCORE, Capability.SEED}
        self.capabilities = frozenset(base | {Capability.UPDATE} if updatable else base)
        self.model_digest = model_digest
        self._base_digest = model_digest
        self._runner = runner
        self._loop = EngineLoop(runner, threads)

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenChunk]:
        """Stream the continuation; see the protocol."""
        self._check(request)
        stream = Stream()
        self._loop.add(request, stream)
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
        for continuation in continuations:
            self._check_ids([*context_ids, *continuation])
        rows: list[Scored] = []
        # One forward per turn of the engine, so that running requests keep stepping.
        for pack in packs(context_ids, continuations):
            work = partial(self._runner.score, pack)
            rows += await asyncio.wrap_future(self._loop.between_steps(work))
        return rows

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
        return EngineStats(
            running=len(self._loop.stepper.scheduler.running),
            waiting=len(self._loop.stepper.scheduler.waiting),
            tokens_generated=self._loop.stepper.generated,
            tokens_prefilled=self._loop.stepper.prefilled,
            max_context=self._runner.max_context,
        )

    def close(self) -> None:
        """Abort what runs and stop the thread."""
        self._loop.close()

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs."""
        return self._loop.alive

    def _check(self, request: EngineRequest) -> None:
        if not request.prompt_ids:
            raise InvalidToken("the prompt is empty; an engine continues at least one token")
        if request.sampling.max_tokens < 1:
            raise EngineError(f"max_tokens is {request.sampling.max_tokens}; it must be at least 1")
        wanted = len(request.prompt_ids) + request.sampling.max_tokens
        if wanted > self._runner.max_context:
            raise PromptTooLong(
                f"{len(request.prompt_ids)} prompt tokens and max_tokens "
                f"{request.sampling.max_tokens} need {wanted}; "
                f"this engine's context is {self._runner.max_context}"
            )
        self._check_ids(request.prompt_ids)

    def _check_ids(self, ids: Sequence[int]) -> None:
        if len(ids) > self._runner.max_context:
            raise PromptTooLong(
                f"{len(ids)} tokens; this engine's context is {self._runner.max_context}"
            )
        for token in ids:
            if not 0 <= token < self._runner.vocab_size:
                raise InvalidToken(
                    f"token id {token} is outside the vocabulary of {self._runner.vocab_size}"
                )

    def _update(self, state: dict[str, Any], policy_version: int) -> None:
        self._runner.load_state(state)
        self._loop.stepper.policy_version = policy_version
        self.model_digest = f"{self._base_digest}@{policy_version}"
