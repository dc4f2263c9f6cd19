"""The engine: one thread that owns the model, fed by any number of event loops."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from contracts.engine import (
    Capability,
    EngineError,
    EngineRequest,
    EngineStats,
    FinishReason,
    InvalidToken,
    PromptTooLong,
    Scored,
    TokenChunk,
)
from serving.engine.runner import ModelRunner
from serving.engine.sampling import sample
from serving.engine.scheduler import Scheduler
from serving.engine.scheduler import Sequence as Scheduled
from serving.engine.scoring import packs
from serving.engine.stream import Stream, deliver


@dataclass
class _Job:
    """A request inside the engine."""

    request: EngineRequest
    stream: Stream
    sequence: Scheduled
    last_token: int = -1


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
        self._scheduler = Scheduler(runner.num_slots)
        self._jobs: dict[str, _Job] = {}
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._side_work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = (
            queue.SimpleQueue()
        )
        self._policy_version = 0
        self._generated = 0
        self._prefilled = 0
        self._threads = threads
        self._closed = threading.Event()
        self._gate = threading.Lock()
        """Held to close and to send: no command is left behind by a thread that has ended."""
        self._thread = threading.Thread(target=self._run, name="inkstone-engine", daemon=True)
        self._thread.start()

    # What callers use, from any thread or event loop.

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenChunk]:
        """Stream the continuation; see the protocol."""
        self._check(request)
        stream = Stream()
        self._send(lambda: self._add(request, stream))
        finished = False
        try:
            while not finished:
                chunk = await stream.queue.get()
                finished = chunk.finish_reason is not None
                yield chunk
        finally:
            if not finished:
                self._send_quietly(lambda: self._abort(request.id, stream))

    async def score(
        self, context_ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> list[Scored]:
        """Log-probs of each continuation; see the protocol."""
        for continuation in continuations:
            self._check_ids([*context_ids, *continuation])
        rows: list[Scored] = []
        # One forward per turn of the engine, so that running requests keep stepping.
        for pack in packs(context_ids, continuations):
            rows += await self._between_steps(partial(self._runner.score, pack))
        return rows

    async def abort(self, request_id: str) -> None:
        """End a request within a step."""
        self._send_quietly(lambda: self._abort(request_id))

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
        await self._between_steps(lambda: self._update(state, policy_version))

    def stats(self) -> EngineStats:
        """Current gauges."""
        return EngineStats(
            running=len(self._scheduler.running),
            waiting=len(self._scheduler.waiting),
            tokens_generated=self._generated,
            tokens_prefilled=self._prefilled,
            max_context=self._runner.max_context,
        )

    def close(self) -> None:
        """Abort what runs and stop the thread."""
        self._shut()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs."""
        return self._thread.is_alive()

    # Checks, in the caller's thread.

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

    def _send(self, command: Callable[[], None]) -> None:
        with self._gate:
            if self._closed.is_set():
                raise EngineError("the engine is closed")
            self._commands.put(command)

    def _shut(self) -> None:
        with self._gate:
            self._closed.set()
            self._commands.put(lambda: None)

    def _send_quietly(self, command: Callable[[], None]) -> None:
        with contextlib.suppress(EngineError):
            self._send(command)

    async def _between_steps(self, work: Callable[[], Any]) -> Any:
        """Run ``work`` in the engine's thread between two steps."""
        future: Future[Any] = Future()
        self._send(lambda: self._side_work.put((future, work)))
        return await asyncio.wrap_future(future)

    # The engine's thread.

    def _run(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            while not self._closed.is_set():
                self._take_commands()
                self._one_side_job()
                self._step()
        finally:
            self._shut()
            self._let_go()

    def _one_side_job(self) -> None:
        """At most one between two steps, so that neither side starves the other."""
        try:
            future, work = self._side_work.get_nowait()
        except queue.Empty:
            return
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

    def _let_go(self) -> None:
        """End everybody who waits for this thread."""
        self._take_commands(wait=False)
        for job in list(self._jobs.values()):
            self._finish(job, FinishReason.ABORT)
        while not self._side_work.empty():
            future, _ = self._side_work.get_nowait()
            if future.set_running_or_notify_cancel():
                future.set_exception(EngineError("the engine is closed"))

    def _take_commands(self, wait: bool = True) -> None:
        idle = not self._scheduler.has_work and self._side_work.empty()
        with contextlib.suppress(queue.Empty):
            self._commands.get(block=wait and idle)()
            while True:
                self._commands.get_nowait()()

    def _add(self, request: EngineRequest, stream: Stream) -> None:
        if request.id in self._jobs:
            chunk = TokenChunk(
                request.id,
                (),
                (),
                self._policy_version,
                FinishReason.ERROR,
                f"a request with id {request.id!r} is running already",
            )
            deliver([(stream, chunk)])
            return
        sequence = Scheduled(request.id, len(request.prompt_ids), request.sampling.max_tokens)
        self._jobs[request.id] = _Job(request, stream, sequence)
        self._scheduler.add(sequence)

    def _abort(self, request_id: str, stream: Stream | None = None) -> None:
        job = self._jobs.get(request_id)
        if job is not None and stream in (None, job.stream):
            self._finish(job, FinishReason.ABORT)

    def _finish(self, job: _Job, reason: FinishReason, error: str | None = None) -> None:
        self._drop(job)
        chunk = TokenChunk(job.request.id, (), (), self._policy_version, reason, error)
        deliver([(job.stream, chunk)])

    def _drop(self, job: _Job) -> None:
        del self._jobs[job.request.id]
        self._scheduler.remove(job.sequence)

    def _update(self, state: dict[str, Any], policy_version: int) -> None:
        self._runner.load_state(state)
        self._policy_version = policy_version
        self.model_digest = f"{self._base_digest}@{policy_version}"

    def _step(self) -> None:
        batch = []
        for sequence in self._scheduler.admit():
            batch += self._guarded([self._jobs[sequence.id]], self._prefill)
        running = [self._jobs[s.id] for s in self._scheduler.running.values()]
        if running:
            batch += self._guarded(running, self._decode)
        for request_id in deliver(batch):
            self._abort(request_id)

    def _guarded(
        self, jobs: list[_Job], step: Callable[[list[_Job]], list[tuple[Stream, TokenChunk]]]
    ) -> list[tuple[Stream, TokenChunk]]:
        """Run a step; where it fails, its requests end with the error and the engine goes on."""
        try:
            return step(jobs)
        except Exception as error:
            for job in jobs:
                if job.request.id in self._jobs:
                    message = f"{type(error).__name__}: {error}"
                    self._finish(job, FinishReason.ERROR, message)
            return []

    def _prefill(self, jobs: list[_Job]) -> list[tuple[Stream, TokenChunk]]:
        (job,) = jobs
        logits = self._runner.prefill(job.sequence.slot, list(job.request.prompt_ids))
        self._prefilled += len(job.request.prompt_ids)
        return self._choose(jobs, logits)

    def _decode(self, jobs: list[_Job]) -> list[tuple[Stream, TokenChunk]]:
        tokens = [0] * self._runner.num_slots
        positions = [0] * self._runner.num_slots
        for job in jobs:
            tokens[job.sequence.slot] = job.last_token
            positions[job.sequence.slot] = job.sequence.length - 1
        logits = self._runner.decode(tokens, positions)
        return self._choose(jobs, logits[[job.sequence.slot for job in jobs]])

    def _choose(self, jobs: list[_Job], logits: torch.Tensor) -> list[tuple[Stream, TokenChunk]]:
        params = [job.request.sampling for job in jobs]
        tokens, logprobs = sample(logits, params, [job.sequence.generated for job in jobs])
        batch = []
        for job, token, logprob in zip(jobs, tokens, logprobs, strict=True):
            job.last_token = token
            job.sequence.generated += 1
            self._generated += 1
            reason = None
            if token in job.request.sampling.stop_token_ids:
                reason = FinishReason.STOP
            elif job.sequence.generated >= job.request.sampling.max_tokens:
                reason = FinishReason.LENGTH
            if reason is not None:
                self._drop(job)
            version = self._policy_version
            chunk = TokenChunk(job.request.id, (token,), (logprob,), version, reason)
            batch.append((job.stream, chunk))
        return batch
