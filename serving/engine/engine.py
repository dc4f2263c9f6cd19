"""The engine: the protocol's face over the thread that owns the model."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
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
from serving.engine.rotary import root_for
from serving.engine.runner import ModelRunner
from serving.engine.score_task import ScoreTask
from serving.engine.steps import Stepper
from serving.engine.stream import Stream
from serving.lora.files import Adapter, read_adapter
from serving.lora.loaded import LoadedAdapter, unknown_adapter


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
        adapters: Mapping[str, Adapter] = MappingProxyType({}),
    ) -> None:
        without = frozenset() if updatable else frozenset({Capability.UPDATE})
        self.capabilities = frozenset(Capability) - without
        self.model_digest = model_digest
        self._base_digest = model_digest
        self._runner = runner
        self._guides = guides
        self._stepper = Stepper(runner, limits)
        for name, adapter in adapters.items():
            self._stepper.load_adapter(name, adapter)
        self._loop = EngineLoop(self._stepper, threads)

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenChunk]:
        """Stream the continuation; see the protocol."""
        check_request(request, self._runner.max_context, self._runner.vocab_size)
        self._adapter(request.adapter)
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
        self,
        context_ids: Sequence[int],
        continuations: Sequence[Sequence[int]],
        adapter: str | None = None,
    ) -> list[Scored]:
        """Log-probs of each continuation; see the protocol.

        Raises:
            UnknownAdapter: it is not loaded, or was dropped meanwhile.
        """
        loaded = self._adapter(adapter)
        for continuation in continuations or [()]:
            ids = [*context_ids, *continuation]
            check_ids(ids, self._runner.max_context, self._runner.vocab_size)
        task = ScoreTask(
            self._runner,
            self._stepper.scheduler,
            context_ids,
            continuations,
            adapter,
            root_for(loaded.root if loaded else 0, len(context_ids), self._runner.trained_context),
        )

        def turn() -> bool:
            if self._adapter(adapter) is not loaded:
                task.close()
                raise unknown_adapter(str(adapter), self._stepper.adapters)
            return task.turn()

        done = False
        try:
            # One forward per turn of the engine, so that running requests keep stepping.
            while not done:
                done = await asyncio.wrap_future(self._loop.between_steps(turn))
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

    def adapters(self) -> dict[str, str]:
        """Digest of each loaded adapter, by name."""
        return {name: each.digest for name, each in self._stepper.adapters.copy().items()}

    async def load_adapter(self, name: str, path: Path) -> None:
        """Load a LoRA adapter; see the protocol.

        Raises:
            AdapterError: it is damaged, unsupported or made for another model.
            EngineError: the name is taken.
        """
        adapter = await asyncio.to_thread(read_adapter, Path(path))
        work = partial(self._stepper.load_adapter, name, adapter)
        await asyncio.wrap_future(self._loop.between_steps(work))

    async def drop_adapter(self, name: str) -> None:
        """Forget a LoRA adapter; see the protocol. Scores under way with it end in an error."""
        work = partial(self._stepper.drop_adapter, name)
        await asyncio.wrap_future(self._loop.between_steps(work))

    def _adapter(self, name: str | None) -> LoadedAdapter | None:
        if name is None:
            return None
        loaded = self._stepper.adapters.get(name)
        if loaded is None:
            raise unknown_adapter(name, self._stepper.adapters)
        return loaded

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
        self._runner.close()

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs, and all that belongs to its model."""
        return self._loop.alive and self._runner.alive

    def _update(self, state: dict[str, Any], policy_version: int) -> None:
        self._runner.load_state(state)
        self._stepper.weights_changed(policy_version)
        self.model_digest = f"{self._base_digest}@{policy_version}"
