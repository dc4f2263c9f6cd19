"""``POST /v1/chat/completions``."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request

from contracts.conversation import ToolCall
from contracts.engine import EngineRequest
from serving.engine.text import TextPiece
from serving.http.errors import ApiError
from serving.http.reply import Choice, chat_logprobs, envelope, finish_name, usage
from serving.http.schema import ChatRequest
from serving.http.service import Service, unless_disconnected
from serving.http.sse import streaming
from serving.tokenizer import TemplateRefused, TokenizerError
from serving.toolcalls import ToolCallSplitter, parse_message


def router(service: Service) -> APIRouter:
    """The chat route over a service."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions", response_model=None)
    async def chat(body: ChatRequest, request: Request) -> Any:
        service.check_model(body.model)
        tools = body.tools if body.tools and body.tool_choice == "auto" else []
        try:
            prompt = service.tokenizer.render(body.messages, tools)
        except TemplateRefused as error:
            raise ApiError(400, str(error), param="messages") from error
        except TokenizerError as error:  # its text names a path of this machine
            raise ApiError(400, "this model has no chat template", param="messages") from error
        limit = body.max_completion_tokens or body.max_tokens
        planned = service.plan(body, [prompt], limit)
        if body.stream:
            return await streaming(_stream(service, body, planned))
        return await unless_disconnected(request, _whole(service, body, planned))

    return routes


async def _whole(
    service: Service, body: ChatRequest, planned: list[EngineRequest]
) -> dict[str, Any]:
    choices = await service.whole(planned, body.stop_strings)
    answer = envelope("chatcmpl", "chat.completion", body.model, service.fingerprint(body.model))
    answer["choices"] = [_choice(service, body, i, c) for i, c in enumerate(choices)]
    answer["usage"] = usage(choices)
    if body.return_token_ids:
        answer["prompt_token_ids"] = list(planned[0].prompt_ids)
    return answer


def _choice(service: Service, body: ChatRequest, index: int, choice: Choice) -> dict[str, Any]:
    message = parse_message(choice.text)
    finish = choice.finish_reason
    if message.tool_calls and finish == "stop":
        finish = "tool_calls"
    shown = message.to_openai()
    entry: dict[str, Any] = {
        "index": index,
        "message": {"content": None, "refusal": None, **shown},
        "finish_reason": finish,
        "logprobs": None,
    }
    if body.logprobs:
        entry["logprobs"] = chat_logprobs(service.tokenizer, choice)
    if body.return_token_ids:
        entry["token_ids"] = choice.token_ids
        entry["policy_version"] = choice.policy_version
    return entry


class _Deltas:
    """Turns one choice's pieces into deltas."""

    def __init__(self) -> None:
        self._splitter = ToolCallSplitter()
        self._calls = 0

    def of(self, piece: TextPiece) -> tuple[dict[str, Any], bool]:
        """Delta of a piece, and whether any call was made so far."""
        parts = self._splitter.feed(piece.text)
        if piece.finish_reason is not None:
            parts += self._splitter.finish()
        delta: dict[str, Any] = {}
        content = "".join(part for part in parts if isinstance(part, str))
        if content:
            delta["content"] = content
        calls = [part for part in parts if isinstance(part, ToolCall)]
        if calls:
            first, self._calls = self._calls, self._calls + len(calls)
            delta["tool_calls"] = [
                {"index": first + i, **call.model_dump()} for i, call in enumerate(calls)
            ]
        return delta, self._calls > 0


async def _stream(
    service: Service, body: ChatRequest, planned: list[EngineRequest]
) -> AsyncIterator[dict[str, Any]]:
    choices = [Choice(request) for request in planned]
    deltas = [_Deltas() for _ in planned]
    head = envelope(
        "chatcmpl", "chat.completion.chunk", body.model, service.fingerprint(body.model)
    )
    pieces: Any = service.run(planned, body.stop_strings)
    with service.admit(len(planned)):
        async with aclosing(pieces):
            async for index, piece in pieces:
                first = not choices[index].token_ids
                choices[index].add(piece)
                delta, called = deltas[index].of(piece)
                if first:
                    delta = {"role": "assistant", "content": "", **delta}
                event = {**head, "choices": [_chunk(service, body, index, piece, delta, called)]}
                if first and body.return_token_ids:
                    event["prompt_token_ids"] = list(planned[index].prompt_ids)
                if delta or piece.finish_reason or body.logprobs or body.return_token_ids:
                    yield event
    if body.stream_options and body.stream_options.include_usage:
        yield {**head, "choices": [], "usage": usage(choices)}


def _chunk(
    service: Service,
    body: ChatRequest,
    index: int,
    piece: TextPiece,
    delta: dict[str, Any],
    called: bool,
) -> dict[str, Any]:
    finish = piece.finish_reason and finish_name(piece.finish_reason)
    entry: dict[str, Any] = {
        "index": index,
        "delta": delta,
        "finish_reason": "tool_calls" if called and finish == "stop" else finish,
        "logprobs": None,
    }
    if body.logprobs:
        entry["logprobs"] = chat_logprobs(service.tokenizer, piece)
    if body.return_token_ids:
        entry["token_ids"] = list(piece.token_ids)
        entry["policy_version"] = piece.policy_version
    return entry
