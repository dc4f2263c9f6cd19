"""A client of an endpoint: OpenAI's own, in Inkstone's types, patient over a restart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from contracts.conversation import Message
from contracts.engine import Scored
from serving.toolcalls import spell_call

if TYPE_CHECKING:
    from openai import OpenAI

RETRIES = 10
"""With the client's back-off (0.5 s doubling to 8 s) about a minute: a replica's restart."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served."""

    base_url: str
    """OpenAI base URL, ending in ``/v1``."""
    api_key: str = field(repr=False)
    model_name: str


@dataclass(frozen=True)
class Answer:
    """One choice, with what training and scoring need of it."""

    message: Message
    finish_reason: str
    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    """Stop token included."""
    logprobs: tuple[float, ...]
    """Natural log, one per output id, before temperature and filters."""
    policy_version: int
    model_digest: str


class Client:
    """Asks an endpoint of ours. Thread-safe; pickles (the connection is made anew).

    Raises what the official client raises: ``openai.BadRequestError`` (400),
    ``openai.AuthenticationError`` (401), ``openai.NotFoundError`` (404), and
    ``openai.APIConnectionError`` or ``openai.InternalServerError`` when retries ran out.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float = 120.0) -> None:
        self.endpoint = endpoint
        self.timeout = timeout

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.endpoint, self.timeout)

    @cached_property
    def openai(self) -> "OpenAI":
        """The official client, connected to this endpoint."""
        from openai import OpenAI

        return OpenAI(
            base_url=self.endpoint.base_url,
            api_key=self.endpoint.api_key,
            timeout=self.timeout,
            max_retries=RETRIES,
        )

    def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] = (),
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Answer:
        """One answer of the assistant. With a seed, asking again gives the same answer."""
        arguments: dict[str, Any] = {"tools": list(tools)} if tools else {}
        if max_tokens is not None:
            arguments["max_completion_tokens"] = max_tokens
        if stop:
            arguments["stop"] = list(stop)
        reply: Any = self.openai.chat.completions.create(
            model=self.endpoint.model_name,
            messages=[message.to_openai() for message in messages],  # type: ignore[misc]
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            logprobs=True,
            extra_body={"return_token_ids": True},
            **arguments,
        )
        return _answer(reply)

    def stream(self, messages: Sequence[Message], **parameters: Any) -> Iterator[str]:
        """One answer as it is written, tool calls spelled out; closing it aborts it.

        Args:
            messages: the conversation so far.
            parameters: further parameters of OpenAI's chat API.
        """
        events: Any = self.openai.chat.completions.create(
            model=self.endpoint.model_name,
            messages=[message.to_openai() for message in messages],  # type: ignore[misc]
            stream=True,
            **parameters,
        )
        with events:
            for event in events:
                for choice in event.choices:
                    if choice.delta.content:
                        yield choice.delta.content
                    for call in choice.delta.tool_calls or []:
                        yield spell_call(call.function.name, call.function.arguments)

    def score(
        self, context: str | Sequence[int], continuations: Sequence[str] | Sequence[Sequence[int]]
    ) -> list[Scored]:
        """Log-probs of continuations; text is tokenized by the endpoint."""
        body = {
            "model": self.endpoint.model_name,
            "context": context if isinstance(context, str) else list(context),
            "continuations": [c if isinstance(c, str) else list(c) for c in continuations],
        }
        url = f"{self.endpoint.base_url.removesuffix('/v1')}/score"
        reply: Any = self.openai.post(url, body=body, cast_to=object)
        return [Scored(tuple(row["logprobs"]), row["greedy"]) for row in reply["results"]]

    def close(self) -> None:
        """Close the connections."""
        if "openai" in self.__dict__:
            self.openai.close()


def _rebuild(endpoint: Endpoint, timeout: float) -> Client:
    return Client(endpoint, timeout=timeout)


def _answer(reply: Any) -> Answer:
    choice = reply.choices[0]
    extra = choice.model_extra
    spoken = choice.message
    calls = [call.model_dump() for call in spoken.tool_calls or []] or None
    message = Message.model_validate(
        {"role": "assistant", "content": spoken.content, "tool_calls": calls}
    )
    return Answer(
        message=message,
        finish_reason=choice.finish_reason,
        prompt_ids=tuple(reply.model_extra["prompt_token_ids"]),
        output_ids=tuple(extra["token_ids"]),
        logprobs=tuple(entry.logprob for entry in choice.logprobs.content),
        policy_version=extra["policy_version"],
        model_digest=reply.system_fingerprint,
    )
