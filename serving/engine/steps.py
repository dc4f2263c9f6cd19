"""What runs in the engine: requests, and the steps that give each its next token."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from contracts.engine import EngineRequest, FinishReason, TokenChunk
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


class Stepper:
    """Requests over a model, stepped together. Not thread-safe: one thread calls it."""

    def __init__(self, runner: ModelRunner) -> None:
        self.runner = runner
        self.scheduler = Scheduler(runner.num_slots)
        self.policy_version = 0
        self.generated = 0
        """Tokens generated so far."""
        self.prefilled = 0
        """Prompt tokens prefilled so far."""
        self._jobs: dict[str, _Job] = {}

    def add(self, request: EngineRequest, stream: Stream) -> None:
        """Queue a request; one whose id is running already ends with an error."""
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

    def abort(self, request_id: str, stream: Stream | None = None) -> None:
        """End a request (only that of ``stream``, where one is given)."""
        job = self._jobs.get(request_id)
        if job is not None and stream in (None, job.stream):
            self._finish(job, FinishReason.ABORT)

    def abort_all(self) -> None:
        """End every request."""
        for job in list(self._jobs.values()):
            self._finish(job, FinishReason.ABORT)

    def step(self) -> None:
        """Admit and prefill who waits, give everybody who runs a token, deliver."""
        batch = []
        for sequence in self.scheduler.admit():
            batch += self._guarded([self._jobs[sequence.id]], self._prefill)
        running = [self._jobs[s.id] for s in self.scheduler.running.values()]
        if running:
            batch += self._guarded(running, self._decode)
        for request_id in deliver(batch):
            self.abort(request_id)

    def _finish(self, job: _Job, reason: FinishReason, error: str | None = None) -> None:
        self._drop(job)
        chunk = TokenChunk(job.request.id, (), (), self.policy_version, reason, error)
        deliver([(job.stream, chunk)])

    def _drop(self, job: _Job) -> None:
        del self._jobs[job.request.id]
        self.scheduler.remove(job.sequence)

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
