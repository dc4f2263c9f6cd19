"""What is measured: an engine in this process, or an endpoint that speaks OpenAI's API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from clusters.config import ConfigError
from contracts.engine import Engine, EngineError, EngineRequest, SamplingParams
from serving.bench.workload import Ask

_ODD = (AttributeError, TypeError, ValueError)
"""What the client raises where an answer is not of OpenAI's shape."""


@dataclass(frozen=True)
class Arrival:
    """What came at one moment."""

    tokens: int
    """New tokens; 0 where only ``prompt_tokens`` is said."""
    prompt_tokens: int | None = None


class Target(Protocol):
    """Something that answers."""

    def ask(self, name: str, ask: Ask) -> AsyncIterator[Arrival]:
        """Stream an answer's tokens as they arrive.

        Raises:
            TargetError: it was refused or broken off.
        """
        ...

    async def cached_tokens(self) -> int | None:
        """Prompt tokens found in the prefix cache so far; None where it is not said."""
        ...


class TargetError(Exception):
    """A request that brought no whole answer."""


class EngineTarget:
    """An engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ask(self, name: str, ask: Ask) -> AsyncIterator[Arrival]:
        """Stream the engine's chunks."""
        assert not isinstance(ask.prompt, str), "texts are encoded before"
        request = EngineRequest(name, ask.prompt, SamplingParams(max_tokens=ask.max_tokens))
        yield Arrival(0, len(ask.prompt))
        try:
            async for chunk in self._engine.submit(request):
                if chunk.error is not None:
                    raise TargetError(chunk.error)
                yield Arrival(len(chunk.token_ids))
        except EngineError as error:
            raise TargetError(f"{type(error).__name__}: {error}") from error

    async def cached_tokens(self) -> int | None:
        """The engine's own count."""
        return self._engine.stats().tokens_cached


class EndpointTarget:
    """A streaming ``POST /v1/completions``; asks once, for a retry would hide a failure."""

    def __init__(self, client: Any, model: str) -> None:
        self._client = client
        self._model = model
        self._cached: int | None = None
        self._extra: dict[str, Any] = {"return_token_ids": True}

    async def probe(self) -> None:
        """Find out whether the endpoint gives token ids (ours and vLLM do).

        Raises:
            TargetError: it does not answer at all.
        """
        from openai import BadRequestError, OpenAIError

        asked: dict[str, Any] = dict(model=self._model, prompt=[1], max_tokens=1)
        try:
            await self._client.completions.create(**asked, extra_body=self._extra)
        except BadRequestError:
            self._extra = {}
        except OpenAIError as error:
            raise TargetError(f"{type(error).__name__}: {error}") from error

    async def ask(self, name: str, ask: Ask) -> AsyncIterator[Arrival]:
        """Stream the endpoint's events.

        Tokens of an event are its ``token_ids`` where the endpoint gives them, else one. At
        the end ``usage`` says how many there were: the difference counts as the last event's.
        """
        prompt = ask.prompt if isinstance(ask.prompt, str) else list(ask.prompt)
        seen, usage, ended = 0, None, False
        try:
            events = await self._client.completions.create(
                model=self._model,
                prompt=prompt,
                max_tokens=ask.max_tokens,
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
                extra_body=self._extra,
            )
            async for event in events:
                tokens = sum(_tokens(choice) for choice in event.choices)
                ended |= any(choice.finish_reason for choice in event.choices)
                seen += tokens
                if tokens:
                    yield Arrival(tokens)
                if event.usage is not None:
                    # Some endpoints say it with every event: each time of all so far.
                    usage, late = event.usage, event.usage.completion_tokens - seen
                    seen += max(late, 0)
                    yield Arrival(late, usage.prompt_tokens)
            self._note(usage)
            # Without chunks or a length HTTP itself cannot tell a broken answer from a whole one.
            if not ended and usage is None:
                raise ValueError("the stream ended without finish_reason and usage")
        # A stream that breaks off raises what the HTTP library below raises, whichever it is.
        except Exception as error:
            raise TargetError(f"{type(error).__name__}: {error}") from error

    async def cached_tokens(self) -> int | None:
        """What ``/v1/stats`` counts (ours), or ``usage.prompt_tokens_details`` said so far."""
        from openai import OpenAIError

        if self._cached is None:
            try:
                said: Any = await self._client.get("/stats", cast_to=object)
                return int(said["tokens_cached"])
            except (OpenAIError, KeyError, TypeError, ValueError):
                pass
        return self._cached

    def _note(self, usage: Any) -> None:
        details = getattr(usage, "prompt_tokens_details", None)
        cached = getattr(details, "cached_tokens", None)
        if cached is not None:
            self._cached = (self._cached or 0) + cached


@asynccontextmanager
async def open_endpoint(url: str, api_key: str | None) -> AsyncIterator[EndpointTarget]:
    """The first model of the endpoint behind a URL, with or without ``/v1``.

    Raises:
        ConfigError: no endpoint answers there, or not to this key.
    """
    from openai import AsyncOpenAI, OpenAIError

    base = url.rstrip("/")
    base = base if base.endswith("/v1") else f"{base}/v1"
    async with AsyncOpenAI(base_url=base, api_key=api_key or "none", max_retries=0) as client:
        try:
            names = [model.id async for model in client.models.list()]
            if not names:
                raise TargetError("it lists no model")
            target = EndpointTarget(client, names[0])
            await target.probe()
        except (OpenAIError, TargetError, *_ODD) as error:
            raise ConfigError(
                f"{base}: {error}; is it an endpoint, and --api-key its key?"
            ) from error
        yield target


def _tokens(choice: Any) -> int:
    ids = (choice.model_extra or {}).get("token_ids")
    return len(ids) if ids is not None else int(bool(choice.text))
