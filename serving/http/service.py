"""What the routes share: the engine, admission, and running several choices at once."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from contracts.engine import AdapterEngine, Capability, Engine, EngineRequest, SamplingParams
from serving.engine.text import TextPiece, generate_text
from serving.http.errors import ApiError
from serving.http.reply import Choice
from serving.http.schema import _Generate
from serving.tokenizer import ChatTokenizer

COMPLETION_TOKENS = 16
"""Tokens of a plain completion that names no limit, as in OpenAI's API."""


@dataclass
class Service:
    """One model behind HTTP."""

    engine: Engine
    tokenizer: ChatTokenizer
    model_name: str
    key_hash: str | None = None
    """blake3 of the API key, hex; None where no key is needed."""
    max_sequences: int = 256
    """Sequences running and waiting at once; a request beyond gets status 429."""
    active: int = field(default=0, init=False)

    def check_model(self, name: str) -> None:
        """Refuse a model that is not here (404)."""
        self.adapter_of(name)

    def adapter_of(self, name: str) -> str | None:
        """The adapter that a model's name stands for; None is the base model.

        Raises:
            ApiError: 404, it is neither.
        """
        if name == self.model_name:
            return None
        adapters = self.adapters()
        if name not in adapters:
            served = ", ".join(repr(n) for n in (self.model_name, *adapters))
            raise ApiError(
                404,
                f"no model {name!r} here; this endpoint serves {served}",
                param="model",
                code="model_not_found",
            )
        return name

    def adapters(self) -> dict[str, str]:
        """Digest of each LoRA adapter, by the name clients ask for."""
        return self.engine.adapters() if isinstance(self.engine, AdapterEngine) else {}

    def fingerprint(self, name: str) -> str:
        """Which weights answer under a model's name."""
        digest = self.adapters().get(name)
        base = self.engine.model_digest
        return base if digest is None else f"{base}+{digest}"

    @contextmanager
    def admit(self, sequences: int) -> Iterator[None]:
        """Hold places for sequences, or refuse (429)."""
        if self.active + sequences > self.max_sequences:
            raise ApiError(
                429,
                f"{self.active} sequences are running or waiting and {sequences} more would pass "
                f"{self.max_sequences}; try again in a moment",
                kind="rate_limit_error",
                code="queue_full",
            )
        self.active += sequences
        try:
            yield
        finally:
            self.active -= sequences

    def plan(
        self, body: _Generate, prompts: Sequence[Sequence[int]], max_tokens: int | None
    ) -> list[EngineRequest]:
        """``body.n`` engine requests per prompt; choice i of a seed has the seed plus i."""
        self._check_capabilities(body)
        seed = secrets.randbits(48) if body.seed is None else body.seed
        room = self.engine.stats().max_context
        adapter = self.adapter_of(body.model)
        planned = []
        for prompt in prompts:
            for choice in range(body.n):
                limit = max_tokens or max(1, room - len(prompt))
                sampling = self._sampling(body, limit, seed + choice)
                name = secrets.token_hex(12)
                planned.append(EngineRequest(name, tuple(prompt), sampling, body.priority, adapter))
        return planned

    def _sampling(self, body: _Generate, max_tokens: int, seed: int) -> SamplingParams:
        return SamplingParams(
            max_tokens=max_tokens,
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=body.top_k,
            seed=seed,
            stop_token_ids=self.tokenizer.stop_ids,
            min_p=body.min_p,
            repetition_penalty=body.repetition_penalty,
            presence_penalty=body.presence_penalty or 0.0,
            frequency_penalty=body.frequency_penalty or 0.0,
            logit_bias=tuple(sorted((body.logit_bias or {}).items())),
            top_logprobs=body.alternatives,
            guide=body.guide(),
        )

    def _check_capabilities(self, body: _Generate) -> None:
        """Refuse what this engine cannot honour (400)."""
        for asked, capability in (
            (body.guide() is not None, Capability.GUIDE),
            (body.alternatives > 0, Capability.TOP_LOGPROBS),
        ):
            if asked and capability not in self.engine.capabilities:
                raise ApiError(400, f"this engine has no {capability.value}", code="unsupported")

    async def whole(self, requests: Sequence[EngineRequest], stop: Sequence[str]) -> list[Choice]:
        """The finished choices, one per request."""
        choices = [Choice(request) for request in requests]
        pieces: Any = self.run(requests, stop)
        with self.admit(len(requests)):
            async with aclosing(pieces):
                async for index, piece in pieces:
                    choices[index].add(piece)
        return choices

    async def run(
        self, requests: Sequence[EngineRequest], stop: Sequence[str]
    ) -> AsyncIterator[tuple[int, TextPiece]]:
        """Pieces of all requests as they come, with the request's index.

        Closing the iterator aborts what still runs.
        """
        arrived: asyncio.Queue[tuple[int, TextPiece | Exception]] = asyncio.Queue()

        async def pump(index: int, request: EngineRequest) -> None:
            try:
                pieces: Any = generate_text(self.engine, self.tokenizer, request, stop)
                async with aclosing(pieces):
                    async for piece in pieces:
                        arrived.put_nowait((index, piece))
            except Exception as error:
                arrived.put_nowait((index, error))

        tasks = [asyncio.create_task(pump(i, r)) for i, r in enumerate(requests)]
        left = len(tasks)
        try:
            while left:
                index, piece = await arrived.get()
                if isinstance(piece, Exception):
                    raise piece
                left -= piece.finish_reason is not None
                yield index, piece
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
    """Result of ``work``, cancelled as soon as the client hangs up."""
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "the client hung up", code="client_closed_request")
        return await task
    finally:
        for each in (task, watcher):
            each.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await each


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
