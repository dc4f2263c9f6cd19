"""vLLM behind our protocol (extra ``vllm``)."""

from collections.abc import AsyncIterator
from typing import Any

from contracts.engine import EngineRequest, FinishReason, TokenChunk
from serving.directory import model_digest
from serving.engines.plain import OtherEngine
from serving.folder import ModelFolder
from serving.settings import EngineSettings


def open_vllm(folder: ModelFolder, settings: EngineSettings) -> "VllmEngine":
    """The engine over a model directory. vLLM sizes its own threads and cache.

    Raises:
        ModelError: the directory is missing or half written.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    from serving.load import context_of

    digest = model_digest(folder.path)
    context = context_of(folder, settings.max_context)
    arguments = AsyncEngineArgs(
        model=str(folder.path),
        max_model_len=context,
        max_num_seqs=settings.slots,
        skip_tokenizer_init=True,
    )
    return VllmEngine(
        AsyncLLM.from_engine_args(arguments), context, folder.config.vocab_size, digest
    )


class VllmEngine(OtherEngine):
    """vLLM's asynchronous engine (contracts.engine.Engine)."""

    def __init__(self, engine: Any, max_context: int, vocab_size: int, digest: str) -> None:
        super().__init__(max_context, vocab_size, digest)
        self._engine = engine

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenChunk]:
        """Stream the continuation; see the protocol."""
        self._enter(request)
        finished = False
        try:
            prompt = {"prompt_token_ids": list(request.prompt_ids)}
            async for output in self._engine.generate(prompt, _sampling(request), request.id):
                chunk = _chunk(request, output)
                finished = chunk.finish_reason is not None
                self._generated += len(chunk.token_ids)
                yield chunk
        finally:
            self._running.discard(request.id)
            if not finished:
                await self._engine.abort(request.id)

    async def abort(self, request_id: str) -> None:
        """End a request within a step."""
        await self._engine.abort(request_id)

    def close(self) -> None:
        """Stop vLLM's processes."""
        self._engine.shutdown()


def _sampling(request: EngineRequest) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    said = request.sampling
    return SamplingParams(
        max_tokens=said.max_tokens,
        temperature=said.temperature,
        top_p=said.top_p,
        top_k=said.top_k,
        min_p=said.min_p,
        repetition_penalty=said.repetition_penalty,
        seed=said.seed,
        stop_token_ids=list(said.stop_token_ids),
        ignore_eos=True,  # a request says what ends it
        logprobs=0,  # of the chosen token only
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def _chunk(request: EngineRequest, output: Any) -> TokenChunk:
    (completion,) = output.outputs
    tokens = tuple(completion.token_ids)
    logprobs = tuple(
        row[token].logprob for token, row in zip(tokens, completion.logprobs or [], strict=True)
    )
    reason = FinishReason(completion.finish_reason) if output.finished else None
    return TokenChunk(request.id, tokens, logprobs, 0, reason)
