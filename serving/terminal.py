"""``inkstone serve chat``: a conversation in the terminal, over HTTP or in this process."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from clusters.config import ConfigError
from contracts.conversation import Message
from contracts.engine import EngineError, EngineRequest, SamplingParams
from serving.client import Client, Endpoint
from serving.toolcalls import parse_message

Reply = Callable[[list[Message]], Iterator[str]]
"""Streams the assistant's answer to a conversation."""


def talk(
    target: str, api_key: str | None, system: str | None, temperature: float, max_tokens: int
) -> None:
    """Read lines, stream answers, until ``/exit`` or the end of input.

    Raises:
        ConfigError: no such model, or no endpoint answers at the URL.
    """
    start = [Message(role="system", content=system)] if system else []
    with _opened(target, api_key, temperature, max_tokens) as reply:
        messages = list(start)
        while (line := _ask()) not in (None, "/exit"):
            if line == "/reset":
                messages = list(start)
            elif line:
                _turn(messages, line, reply)


def _turn(messages: list[Message], line: str, reply: Reply) -> None:
    """One question and its answer; a failed one leaves the conversation as it was."""
    from openai import OpenAIError

    from serving.tokenizer import TokenizerError

    asked = Message(role="user", content=line)
    text = ""
    try:
        for piece in reply([*messages, asked]):
            text += piece
            print(piece, end="", flush=True)
    except (OpenAIError, EngineError, TokenizerError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return
    print()
    messages += [asked, parse_message(text)]


def _ask() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return None


@contextlib.contextmanager
def _opened(
    target: str, api_key: str | None, temperature: float, max_tokens: int
) -> Iterator[Reply]:
    if target.startswith(("http://", "https://")):
        with _remote(target, api_key, temperature, max_tokens) as reply:
            yield reply
    else:
        from serving.resolve import resolve_model

        with _local(resolve_model(target), temperature, max_tokens) as reply:
            yield reply


@contextlib.contextmanager
def _remote(url: str, api_key: str | None, temperature: float, max_tokens: int) -> Iterator[Reply]:
    from openai import OpenAI, OpenAIError

    base = url.rstrip("/")
    base = base if base.endswith("/v1") else f"{base}/v1"
    key = api_key or "none"
    try:
        names = [m.id for m in OpenAI(base_url=base, api_key=key, max_retries=0).models.list()]
    except OpenAIError as error:
        raise ConfigError(f"{base}: {error}; is it an endpoint, and --api-key its key?") from error
    client = Client(Endpoint(base, key, names[0]))
    try:
        yield lambda messages: client.stream(
            messages, temperature=temperature, max_tokens=max_tokens
        )
    finally:
        client.close()


@contextlib.contextmanager
def _local(path: Path, temperature: float, max_tokens: int) -> Iterator[Reply]:
    from serving.load import load_engine
    from serving.tokenizer import ChatTokenizer

    tokenizer = ChatTokenizer.load(path)
    engine = load_engine(path, slots=1, threads=len(os.sched_getaffinity(0)))
    loop = asyncio.new_event_loop()

    def reply(messages: list[Message]) -> Iterator[str]:
        from serving.engine.text import generate_text

        sampling = SamplingParams(
            max_tokens=max_tokens, temperature=temperature, stop_token_ids=tokenizer.stop_ids
        )
        request = EngineRequest("chat", tuple(tokenizer.render(messages)), sampling)
        pieces: Any = generate_text(engine, tokenizer, request)
        try:
            while True:
                piece = loop.run_until_complete(anext(pieces))
                yield piece.text
        except StopAsyncIteration:
            return
        finally:
            loop.run_until_complete(pieces.aclose())

    try:
        yield reply
    finally:
        loop.close()
        engine.close()
