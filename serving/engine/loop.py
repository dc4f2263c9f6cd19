"""The engine's thread: takes commands, steps the model, hands chunks over."""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch

from contracts.engine import EngineRequest, FinishReason, TokenChunk
from serving.engine.errors import Interrupted
from serving.engine.runner import ModelRunner
from serving.engine.sampling import sample
from serving.engine.scheduler import Scheduler
from serving.engine.scheduler import Sequence as Scheduled
from serving.engine.stream import Stream, deliver


@dataclass
class _Job:
    """A request inside the engine."""

    request: EngineRequest
    stream: Stream
    sequence: Scheduled
    last_token: int = -1


class EngineLoop:
    """Owns the model. Public methods may be called from any thread."""

    def __init__(self, runner: ModelRunner, threads: int | None) -> None:
        self.runner = runner
        self.scheduler = Scheduler(runner.num_slots)
        self.policy_version = 0
        self.generated = 0
        """Tokens generated so far."""
        self.prefilled = 0
        """Prompt tokens prefilled so far."""
        self._jobs: dict[str, _Job] = {}
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._side_work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = (
            queue.SimpleQueue()
        )
        self._threads = threads
        self._closed = threading.Event()
        self._gate = threading.Lock()
        """Held to close and to send: no command is left behind by a thread that has ended."""
        self._thread = threading.Thread(target=self._run, name="inkstone-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def add(self, request: EngineRequest, stream: Stream) -> None:
        """Queue a request; its chunks arrive on ``stream``.

        Raises:
            Interrupted: the engine is closed.
        """
        self._send(lambda: self._add(request, stream))

    def abort(self, request_id: str, stream: Stream | None = None) -> None:
        """End a request within a step (only that of ``stream``, where one is given)."""
        with contextlib.suppress(Interrupted):
            self._send(lambda: self._abort(request_id, stream))

    def between_steps(self, work: Callable[[], Any]) -> Future[Any]:
        """Run ``work`` in the thread between two steps.

        Raises:
            Interrupted: the engine is closed.
        """
        future: Future[Any] = Future()
        self._send(lambda: self._side_work.put((future, work)))
        return future

    def close(self) -> None:
        """Abort what runs and stop the thread."""
        self._shut()
        self._thread.join()

    def _send(self, command: Callable[[], None]) -> None:
        with self._gate:
            if self._closed.is_set():
                raise Interrupted("the engine is closed")
            self._commands.put(command)

    def _shut(self) -> None:
        with self._gate:
            self._closed.set()
            self._commands.put(lambda: None)

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
                future.set_exception(Interrupted("the engine is closed"))

    def _take_commands(self, wait: bool = True) -> None:
        idle = not self.scheduler.has_work and self._side_work.empty()
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
                self.policy_version,
                FinishReason.ERROR,
                f"a request with id {request.id!r} is running already",
            )
            deliver([(stream, chunk)])
            return
        sequence = Scheduled(request.id, len(request.prompt_ids), request.sampling.max_tokens)
        self._jobs[request.id] = _Job(request, stream, sequence)
        self.scheduler.add(sequence)

    def _abort(self, request_id: str, stream: Stream | None = None) -> None:
        job = self._jobs.get(request_id)
        if job is not None and stream in (None, job.stream):
            self._finish(job, FinishReason.ABORT)

    def _finish(self, job: _Job, reason: FinishReason, error: str | None = None) -> None:
        self._drop(job)
        chunk = TokenChunk(job.request.id, (), (), self.policy_version, reason, error)
        deliver([(job.stream, chunk)])

    def _drop(self, job: _Job) -> None:
        del self._jobs[job.request.id]
        self.scheduler.remove(job.sequence)

    def _step(self) -> None:
        batch = []
        for sequence in self.scheduler.admit():
            batch += self._guarded([self._jobs[sequence.id]], self._prefill)
        running = [self._jobs[s.id] for s in self.scheduler.running.values()]
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
        logits = self.runner.prefill(job.sequence.slot, list(job.request.prompt_ids))
        self.prefilled += len(job.request.prompt_ids)
        return self._choose(jobs, logits)

    def _decode(self, jobs: list[_Job]) -> list[tuple[Stream, TokenChunk]]:
        tokens = [0] * self.runner.num_slots
        positions = [0] * self.runner.num_slots
        for job in jobs:
            tokens[job.sequence.slot] = job.last_token
            positions[job.sequence.slot] = job.sequence.length - 1
        logits = self.runner.decode(tokens, positions)
        return self._choose(jobs, logits[[job.sequence.slot for job in jobs]])

    def _choose(self, jobs: list[_Job], logits: torch.Tensor) -> list[tuple[Stream, TokenChunk]]:
        params = [job.request.sampling for job in jobs]
        tokens, logprobs = sample(logits, params, [job.sequence.generated for job in jobs])
        batch = []
        for job, token, logprob in zip(jobs, tokens, logprobs, strict=True):
            job.last_token = token
            job.sequence.generated += 1
            self.generated += 1
            reason = None
            if token in job.request.sampling.stop_token_ids:
                reason = FinishReason.STOP
            elif job.sequence.generated >= job.request.sampling.max_tokens:
                reason = FinishReason.LENGTH
            if reason is not None:
                self._drop(job)
            version = self.policy_version
            chunk = TokenChunk(job.request.id, (token,), (logprob,), version, reason)
            batch.append((job.stream, chunk))
        return batch
