"""What runs in the engine: requests, and the steps that give each its next token."""

import time
from collections.abc import Sequence

import torch

from contracts.engine import (
    AdapterInUse,
    EngineError,
    EngineRequest,
    FinishReason,
    TokenChunk,
)
from serving.engine.blocks import BlockManager, OutOfBlocks
from serving.engine.gauges import Decoding
from serving.engine.guide import Matcher
from serving.engine.jobs import Job
from serving.engine.plan import Chunk, Limits, Plan
from serving.engine.rotary import root_for
from serving.engine.runner import ModelRunner
from serving.engine.sampling import Choice, Draw, choose
from serving.engine.scheduler import Scheduler
from serving.engine.stream import Stream, deliver
from serving.lora.files import Adapter
from serving.lora.loaded import LoadedAdapter, unknown_adapter

Logits = dict[Chunk, torch.Tensor]


class Stepper:
    """Requests over a model, stepped together. Not thread-safe: one thread calls it."""

    def __init__(self, runner: ModelRunner, limits: Limits) -> None:
        self.runner = runner
        config = runner.config
        self.blocks = BlockManager(config.num_blocks, config.block_size)
        self.scheduler = Scheduler(self.blocks, limits)
        self.policy_version = 0
        self.generated = 0
        """Tokens generated so far."""
        self.prefilled = 0
        """Prompt tokens prefilled so far."""
        self.decoding = Decoding()
        self.adapters: dict[str, LoadedAdapter] = {}
        """By name."""
        self._jobs: dict[str, Job] = {}

    def add(self, request: EngineRequest, stream: Stream, matcher: Matcher | None = None) -> None:
        """Queue a request; one that cannot be ends with an error."""
        if request.id in self._jobs:
            self._refuse(request, stream, f"a request with id {request.id!r} is running already")
            return
        loaded = self.adapters.get(request.adapter) if request.adapter is not None else None
        if request.adapter is not None and loaded is None:
            self._refuse(request, stream, f"adapter {request.adapter!r} has been dropped")
            return
        root = loaded.root if loaded else 0
        root = root_for(root, len(request.prompt_ids), self.runner.trained_context)
        job = Job(request, stream, matcher, root)
        try:
            self.scheduler.add(job.sequence)
        except OutOfBlocks as error:
            self._refuse(request, stream, str(error))
            return
        self._jobs[request.id] = job

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
        """Compute the next step, give a token to who has come to its end, deliver."""
        started = time.perf_counter()
        plan = self.scheduler.plan()
        if not plan.tokens:
            return
        logits = self._computed(plan)
        batch = self._chosen(logits) if logits else []
        for request_id in deliver(batch):
            self.abort(request_id)
        if not plan.prefill:
            places = sum(chunk.start + 1 for chunk in plan.decode)
            seconds = time.perf_counter() - started
            self.decoding = self.decoding.after(len(plan.decode), places, seconds)

    def load_adapter(self, name: str, adapter: Adapter) -> None:
        """Offer an adapter to the requests that follow.

        Raises:
            EngineError: the name is taken, or the adapter does not fit the model.
        """
        if name in self.adapters:
            raise EngineError(f"adapter {name!r} is loaded already; drop it first")
        self.runner.load_adapter(name, adapter)
        self.adapters[name] = LoadedAdapter(adapter.digest, self.blocks.new_root())

    def drop_adapter(self, name: str) -> None:
        """Forget an adapter.

        Raises:
            UnknownAdapter: there is none of that name.
            AdapterInUse: requests run or wait with it.
        """
        if name not in self.adapters:
            raise unknown_adapter(name, self.adapters)
        users = sum(job.request.adapter == name for job in self._jobs.values())
        if users:
            raise AdapterInUse(
                f"adapter {name!r} is used by {users} requests; abort them or wait for their end"
            )
        del self.adapters[name]
        self.runner.drop_adapter(name)

    def weights_changed(self, policy_version: int) -> None:
        """The model has new weights: nothing computed so far is shared any more."""
        self.policy_version = policy_version
        self.scheduler.weights_changed()

    def _computed(self, plan: Plan) -> Logits:
        """Run the plan; where it fails, run its chunks alone, and who fails then ends."""
        try:
            logits = self.runner.step(plan.decode, plan.prefill)
        except Exception:
            return self._one_by_one(plan)
        self._note([*plan.decode, *plan.prefill])
        return logits

    def _one_by_one(self, plan: Plan) -> Logits:
        logits: Logits = {}
        for decode, prefill in [([c], []) for c in plan.decode] + [([], [c]) for c in plan.prefill]:
            (chunk,) = decode or prefill
            try:
                logits |= self.runner.step(decode, prefill)
                self._note([chunk])
            except Exception as error:
                self._fail(self._jobs[chunk.sequence.id], error)
        return logits

    def _note(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            if chunk.start < chunk.sequence.prompt_length:
                self.prefilled += chunk.count
            self.scheduler.done(chunk)

    def _chosen(self, logits: Logits) -> list[tuple[Stream, TokenChunk]]:
        rows: list[tuple[Job, torch.Tensor, Draw]] = []
        for chunk, row in logits.items():
            job = self._jobs[chunk.sequence.id]
            try:
                rows.append((job, row, job.draw()))
            except Exception as error:
                self._fail(job, error)
        if not rows:
            return []
        jobs, table, draws = zip(*rows, strict=True)
        batch = []
        for job, choice in zip(jobs, self._choices(table, draws), strict=True):
            try:
                if isinstance(choice, Exception):
                    raise choice
                chunk = job.take(choice, self.policy_version)
            except Exception as error:
                self._fail(job, error)
                continue
            self.generated += 1
            if chunk.finish_reason is not None:
                self._drop(job)
            batch.append((job.stream, chunk))
        return batch

    def _choices(
        self, rows: Sequence[torch.Tensor], draws: Sequence[Draw]
    ) -> Sequence[Choice | Exception | None]:
        """A token for each row; where that fails, row by row, with the error of who fails."""
        try:
            return choose(_joined(rows), draws, self.runner.compiled)
        except Exception:
            return [self._choice(row, draw) for row, draw in zip(rows, draws, strict=True)]

    def _choice(self, row: torch.Tensor, draw: Draw) -> Choice | Exception | None:
        try:
            return choose(row[None], [draw], self.runner.compiled)[0]
        except Exception as error:
            return error

    def _fail(self, job: Job, error: Exception) -> None:
        self._finish(job, FinishReason.ERROR, f"{type(error).__name__}: {error}")

    def _finish(self, job: Job, reason: FinishReason, error: str | None = None) -> None:
        self._drop(job)
        chunk = TokenChunk(job.request.id, (), (), self.policy_version, reason, error)
        deliver([(job.stream, chunk)])

    def _refuse(self, request: EngineRequest, stream: Stream, error: str) -> None:
        chunk = TokenChunk(request.id, (), (), self.policy_version, FinishReason.ERROR, error)
        deliver([(stream, chunk)])

    def _drop(self, job: Job) -> None:
        del self._jobs[job.request.id]
        self.scheduler.remove(job.sequence)


def _joined(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rows as one table: as they lie, where they are one behind the other."""
    first = rows[0]
    store, start, size = first.untyped_storage().data_ptr(), first.data_ptr(), first.nbytes
    for index, row in enumerate(rows):
        here = row.untyped_storage().data_ptr() == store and row.is_contiguous()
        if not here or row.data_ptr() != start + index * size:
            return torch.stack(tuple(rows))
    return first.as_strided((len(rows), len(first)), (len(first), 1))
