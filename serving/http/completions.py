"""``POST /v1/completions``."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request

from contracts.engine import EngineRequest
from serving.engine.text import TextPiece
from serving.http.reply import Choice, envelope, finish_name, plain_logprobs, usage
from serving.http.schema import CompletionRequest
from serving.http.service import COMPLETION_TOKENS, Service, unless_disconnected
from serving.http.sse import streaming


def router(service: Service) -> APIRouter:
    """The completions route over a service."""
    routes = APIRouter()

    @routes.post("/v1/completions", response_model=None)
    async def complete(body: CompletionRequest, request: Request) -> Any:
        service.check_model(body.model)
        encode = service.tokenizer.encode
        prompts = [encode(p) if isinstance(p, str) else p for p in body.prompts()]
        planned = service.plan(body, prompts, body.max_tokens or COMPLETION_TOKENS)
        if body.stream:
            return await streaming(_stream(service, body, planned))
        return await unless_disconnected(request, _whole(service, body, planned))

    return routes


async def _whole(
    service: Service, body: CompletionRequest, planned: list[EngineRequest]
) -> dict[str, Any]:
    choices = await service.whole(planned, body.stop_strings)
    answer = envelope("cmpl", "text_completion", body.model, service.fingerprint(body.model))
    answer["choices"] = [_choice(service, body, i, c) for i, c in enumerate(choices)]
    answer["usage"] = usage(choices)
    return answer


def _choice(
    service: Service, body: CompletionRequest, index: int, choice: Choice
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "index": index,
        "text": choice.text,
        "finish_reason": choice.finish_reason,
        "logprobs": None,
    }
    if body.logprobs is not None:
        entry["logprobs"] = plain_logprobs(service.tokenizer, choice)
    if body.return_token_ids:
        entry["token_ids"] = choice.token_ids
        entry["prompt_token_ids"] = list(choice.request.prompt_ids)
        entry["policy_version"] = choice.policy_version
    return entry


async def _stream(
    service: Service, body: CompletionRequest, planned: list[EngineRequest]
) -> AsyncIterator[dict[str, Any]]:
    choices = [Choice(request) for request in planned]
    offsets = [0] * len(choices)
    head = envelope("cmpl", "text_completion", body.model, service.fingerprint(body.model))
    pieces: Any = service.run(planned, body.stop_strings)
    with service.admit(len(planned)):
        async with aclosing(pieces):
            async for index, piece in pieces:
                entry = _chunk(service, body, choices[index], index, piece)
                if body.logprobs is not None:
                    said = plain_logprobs(service.tokenizer, piece, offsets[index])
                    offsets[index] += sum(map(len, said["tokens"]))
                    entry["logprobs"] = said
                choices[index].add(piece)
                yield {**head, "choices": [entry]}
    if body.stream_options and body.stream_options.include_usage:
        yield {**head, "choices": [], "usage": usage(choices)}


def _chunk(
    service: Service, body: CompletionRequest, before: Choice, index: int, piece: TextPiece
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "index": index,
        "text": piece.text,
        "finish_reason": piece.finish_reason and finish_name(piece.finish_reason),
        "logprobs": None,
    }
    if body.return_token_ids:
        entry["token_ids"] = list(piece.token_ids)
        entry["policy_version"] = piece.policy_version
        if not before.token_ids:
            entry["prompt_token_ids"] = list(before.request.prompt_ids)
    return entry
