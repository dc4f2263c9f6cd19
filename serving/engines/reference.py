"""transformers' continuous batching as an engine: the reference that ours is compared with.

Greedy only: there, sampling parameters belong to the batch and not to the request, and
log-probs are those of the processed logits.
"""

import itertools
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from contracts.engine import (
    Capability,
    EngineError,
    EngineRequest,
    EngineStats,
    FinishReason,
    InvalidSampling,
    Scored,
    TokenChunk,
)
from serving.directory import ModelError, model_digest
from serving.engine.checks import check_ids, check_request
from serving.engine.errors import Interrupted
from serving.engine.new_weights import checked
from serving.engine.stream import Stream, deliver
from serving.engines.offered import check_offered
from serving.folder import ModelFolder
from serving.settings import EngineSettings

_PAGE = 32
"""Tokens per page of its cache."""
_BATCH_TOKENS = 512
"""Tokens of one of its steps."""
_POLL_SECONDS = 0.1
_OFFERED = ("max_tokens", "stop_token_ids", "temperature", "seed", "top_p", "top_k", "min_p")
"""What greedy decoding takes, or does not depend on."""


def open_reference(folder: ModelFolder, settings: EngineSettings) -> "ReferenceEngine":
    """The engine over a model directory, on the CPU.

    Raises:
        ModelError: packed weights, or a directory that transformers does not load.
    """
    from transformers import AutoModelForCausalLM

    from serving.load import context_of

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    path = folder.path
    if folder.packed:
        raise ModelError(f"{path}: packed weights run on the engine paged only")
    _refuse_following_angles(folder)
    digest = model_digest(path)
    context = context_of(folder, settings.max_context)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False, dtype=folder.dtype
        )
    except (ValueError, OSError, RuntimeError) as error:
        raise ModelError(f"{path}: transformers does not load it: {error}") from error
    places = settings.cache_tokens or settings.slots * context
    return ReferenceEngine(model, context, settings.slots, places, digest)


def _refuse_following_angles(folder: ModelFolder) -> None:
    rope = (getattr(folder.config, "rope_parameters", None) or {}).get("rope_type")
    if rope in ("dynamic", "longrope"):
        raise ModelError(
            f"{folder.where}: rope_type {rope!r}: in transformers' continuous batching all "
            "requests would have the angles of the longest; the engine paged runs 'dynamic'"
        )


@dataclass(eq=False)
class _Entry:
    """A request under way."""

    name: str
    request: EngineRequest
    stream: Stream
    seen: int = 0
    """Tokens handed on so far."""


class ReferenceEngine:
    """Continuous batching by transformers (contracts.engine.Engine)."""

    capabilities = frozenset({Capability.IDS, Capability.SCORE, Capability.UPDATE})

    def __init__(
        self, model: Any, max_context: int, slots: int, cache_tokens: int, digest: str
    ) -> None:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        self.model_digest = self._base_digest = digest
        self._model = model.eval()
        self._max_context = max_context
        self._vocab_size: int = model.get_input_embeddings().weight.shape[0]
        self._plain = model.config._attn_implementation
        self._version = 0
        self._generated = self._prefilled = 0
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._entries: dict[str, _Entry] = {}
        """By the name that transformers knows a request by, which is never used again."""
        self._names: dict[str, str] = {}
        """That name, by the request's id."""
        self._manager: Any = model.init_continuous_batching(
            # No end token of its own: a request says what ends it.
            generation_config=GenerationConfig(do_sample=False, eos_token_id=-1),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=_PAGE,
                num_blocks=-(-cache_tokens // _PAGE) + 1,
                max_batch_tokens=max(_BATCH_TOKENS, slots),
                max_requests_per_batch=slots,
                allow_block_sharing=False,  # new weights would find blocks of the old
                use_cuda_graph=False,
                use_async_batching=False,
                auto_switch_to_flash=False,
                return_logprobs=True,
            ),
        )
        self._manager.start()
        self._closed = threading.Event()
        self._pump = threading.Thread(target=self._carry, name="inkstone-reference", daemon=True)
        self._pump.start()

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenChunk]:
        """Stream the continuation; see the protocol."""
        check_request(request, self._max_context, self._vocab_size)
        check_offered(request, _OFFERED)
        if request.sampling.temperature != 0:
            raise InvalidSampling(
                f"temperature is {request.sampling.temperature}; this engine is greedy: give 0"
            )
        entry = self._start(request)
        finished = False
        try:
            while not finished:
                chunk = await entry.stream.queue.get()
                finished = chunk.finish_reason is not None
                yield chunk
        finally:
            if not finished and self._forget(entry):
                self._manager.cancel_request(entry.name)

    async def score(
        self, context_ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> list[Scored]:
        """Log-probs of each continuation, each in a forward of its own; see the protocol."""
        for continuation in continuations or [()]:
            check_ids([*context_ids, *continuation], self._max_context, self._vocab_size)
        return [self._score(list(context_ids), list(each)) for each in continuations]

    async def abort(self, request_id: str) -> None:
        """End a request within a step."""
        entry = self._entries.get(self._names.get(request_id, ""))
        if entry is not None and self._forget(entry):
            self._manager.cancel_request(entry.name)
            self._end(entry, FinishReason.ABORT)

    async def update_weights(self, state: dict[str, Any], policy_version: int) -> None:
        """Replace the weights between two steps; running requests go on with the new ones.

        Raises:
            EngineError: names, shapes or values do not fit; the old weights stay.
        """
        own = self._model.state_dict()
        tied = getattr(self._model, "all_tied_weights_keys", None) or {}
        new = checked(state, own, tied, lambda _, whole: whole)
        with self._paused(), torch.no_grad():
            for name, value in new.items():
                own[name].copy_(value)
            self._version = policy_version
            self.model_digest = f"{self._base_digest}@{policy_version}"

    def stats(self) -> EngineStats:
        """Current gauges; which of its requests run and which wait it does not say."""
        running = len(self._entries)
        return EngineStats(running, 0, self._generated, self._prefilled, self._max_context)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return bool(self._manager.is_running()) and not self._closed.is_set()

    def close(self) -> None:
        """Abort what runs and stop the threads."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._pump.join()
        self._manager.stop(block=True, hard_stop=True, keep_for_next_session=False)
        self._manager.destroy()
        self._end_all(FinishReason.ABORT)

    def _start(self, request: EngineRequest) -> "_Entry":
        if not self.alive:
            raise Interrupted("the engine is closed")
        with self._lock:
            if request.id in self._names:
                raise EngineError(f"a request with id {request.id!r} is running already")
            entry = _Entry(str(next(self._numbers)), request, Stream())
            self._entries[entry.name] = entry
            self._names[request.id] = entry.name
        self._prefilled += len(request.prompt_ids)
        self._manager.add_request(
            list(request.prompt_ids),
            request_id=entry.name,
            max_new_tokens=request.sampling.max_tokens,
            streaming=True,
            eos_token_id=list(request.sampling.stop_token_ids) or -1,
        )
        return entry

    def _forget(self, entry: "_Entry") -> bool:
        """Take a request off the list; False where it is off already."""
        with self._lock:
            if self._entries.pop(entry.name, None) is None:
                return False
            del self._names[entry.request.id]
            return True

    def _end(self, entry: "_Entry", reason: FinishReason, error: str | None = None) -> None:
        chunk = TokenChunk(entry.request.id, (), (), self._version, reason, error)
        deliver([(entry.stream, chunk)])

    def _end_all(self, reason: FinishReason, error: str | None = None) -> None:
        for entry in list(self._entries.values()):
            if self._forget(entry):
                self._end(entry, reason, error)

    def _carry(self) -> None:
        """Bring results to who waits for them."""
        while not self._closed.is_set():
            result = self._manager.get_result(timeout=_POLL_SECONDS)
            if result is not None:
                self._take(result)
            elif not self._manager.is_running():
                self._end_all(FinishReason.ERROR, "transformers' engine has ended")
                return

    def _take(self, result: Any) -> None:
        entry = self._entries.get(result.request_id)
        if entry is None:
            return  # aborted meanwhile
        if result.error is not None:
            if self._forget(entry):
                self._end(entry, FinishReason.ERROR, result.error)
            return
        # A result holds all tokens so far.
        tokens = tuple(result.generated_tokens[entry.seen :])
        logprobs = tuple(result.logprobs[entry.seen : entry.seen + len(tokens)])
        if not tokens:
            return
        entry.seen += len(tokens)
        self._generated += len(tokens)
        reason = None
        if tokens[-1] in entry.request.sampling.stop_token_ids:
            reason = FinishReason.STOP
        elif entry.seen >= entry.request.sampling.max_tokens:
            reason = FinishReason.LENGTH
        if reason is not None:
            self._forget(entry)
        chunk = TokenChunk(entry.request.id, tokens, logprobs, self._version, reason)
        if deliver([(entry.stream, chunk)]) and self._forget(entry):
            self._manager.cancel_request(entry.name)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """The model to ourselves, between two steps."""
        if not self.alive:
            raise Interrupted("the engine is closed")
        with self._manager.pause():
            yield

    def _score(self, context: list[int], continuation: list[int]) -> Scored:
        first = len(context) if context else 1
        ids = [*context, *continuation]
        if len(ids) <= first:
            return Scored((), True)
        with self._paused(), torch.inference_mode():
            paged = self._model.config._attn_implementation
            self._model.set_attn_implementation(self._plain)
            try:
                table = self._model(torch.tensor([ids]), use_cache=False).logits[0].float()
            finally:
                self._model.set_attn_implementation(paged)
        rows = table[first - 1 : -1].log_softmax(-1)
        wanted = torch.tensor(ids[first:])
        logprobs = rows.gather(1, wanted[:, None])[:, 0]
        return Scored(tuple(logprobs.tolist()), bool((rows.argmax(-1) == wanted).all()))
