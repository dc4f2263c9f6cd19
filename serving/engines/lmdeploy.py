"""LMDeploy behind our protocol (extra ``lmdeploy``)."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

from contracts.engine import EngineRequest, FinishReason, TokenChunk
from serving.directory import model_digest
from serving.engines.plain import OtherEngine
from serving.folder import ModelFolder
from serving.settings import EngineSettings

_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "abort": FinishReason.ABORT,
    "error": FinishReason.ERROR,
}


def open_lmdeploy(folder: ModelFolder, settings: EngineSettings) -> "LmdeployEngine":
    """The engine over a model directory, on LMDeploy's PyTorch backend, which sizes its own
    threads and cache.

    Raises:
        ModelError: the directory is missing or half written.
    """
    from lmdeploy import PytorchEngineConfig
    from lmdeploy.serve.core import AsyncEngine

    from serving.load import context_of

    digest = model_digest(folder.path)
    context = context_of(folder, settings.max_context)
    backend = PytorchEngineConfig(session_len=context, max_batch_size=settings.slots)
    engine = AsyncEngine(str(folder.path), backend="pytorch", backend_config=backend)
    return LmdeployEngine(engine, context, folder.config.vocab_size, digest)


class LmdeployEngine(OtherEngine):
    """LMDeploy's asynchronous engine (contracts.engine.Engine)."""

    def __init__(self, engine: Any, max_context: int, vocab_size: int, digest: str) -> None:
        super().__init__(max_context, vocab_size, digest)
        self._engine = engine
        self._numbers = itertools.count(1)
        self._aborted: set[str] = set()

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenChunk]:
        """Stream the continuation; see the protocol."""
        self._enter(request)
        stream = self._engine.generate(
            None,
            next(self._numbers),
            gen_config=_sampling(request),
            input_ids=list(request.prompt_ids),
        )
        try:
            async for output in stream:
                if request.id in self._aborted:
                    yield TokenChunk(request.id, (), (), 0, FinishReason.ABORT)
                    return
                chunk = _chunk(request, output)
                self._generated += len(chunk.token_ids)
                yield chunk
        finally:
            self._running.discard(request.id)
            self._aborted.discard(request.id)
            await stream.aclose()

    async def abort(self, request_id: str) -> None:
        """End a request at its next token."""
        if request_id in self._running:
            self._aborted.add(request_id)

    def close(self) -> None:
        """Free the model."""
        self._engine.close()


def _sampling(request: EngineRequest) -> Any:
    from lmdeploy import GenerationConfig

    said = request.sampling
    return GenerationConfig(
        max_new_tokens=said.max_tokens,
        do_sample=said.temperature > 0,
        temperature=said.temperature or 1.0,
        top_p=said.top_p,
        top_k=said.top_k,
        min_p=said.min_p,
        repetition_penalty=said.repetition_penalty,
        random_seed=said.seed,
        stop_token_ids=list(said.stop_token_ids) or None,
        ignore_eos=not said.stop_token_ids,
        include_stop_str_in_output=True,
        logprobs=1,
    )


def _chunk(request: EngineRequest, output: Any) -> TokenChunk:
    tokens = tuple(output.token_ids or ())
    rows = output.logprobs or []
    logprobs = tuple(row[token] for token, row in zip(tokens, rows, strict=False))
    reason = _REASONS.get(output.finish_reason or "")
    error = output.response if reason == FinishReason.ERROR else None
    return TokenChunk(request.id, tokens, logprobs, 0, reason, error)
