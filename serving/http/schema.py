"""Requests the endpoint takes. A field it cannot honour is refused, never ignored."""

import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from contracts.conversation import Message

MAX_CHOICES = 64


def _zero(value: float) -> float:
    if value:
        raise PydanticCustomError("unsupported", "not supported; leave it out or send 0")
    return value


Zero = Annotated[float, AfterValidator(_zero)]
"""A number that only 0 may be: what it asks for is not there."""


def _plain_message(value: Any) -> Any:
    """A message as clients send it, in our shape.

    Content in parts is joined, nothing put between; ``developer`` is OpenAI's newer name of
    ``system``; null fields (``refusal`` of an earlier answer) count as absent.
    """
    if not isinstance(value, dict):
        return value
    message = {key: field for key, field in value.items() if field is not None}
    if message.get("role") == "developer":
        message["role"] = "system"
    if isinstance(message.get("content"), list):
        message["content"] = "".join(_text(part) for part in message["content"])
    return message


def _text(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind != "text":
        raise PydanticCustomError(
            "unsupported_content",
            "a content part of type {kind} is not supported; text parts only",
            {"kind": repr(kind)},
        )
    text = part.get("text")
    if not isinstance(text, str):
        raise PydanticCustomError("invalid_content", "a text part without a string as its text")
    return text


class _Request(BaseModel):
    """What every body must be."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _encodable(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise PydanticCustomError(
                "invalid_unicode", "it spells half a surrogate pair, which is no text"
            ) from None
        except RecursionError:
            raise PydanticCustomError("too_deep", "it is nested too deeply") from None
        return value


class StreamOptions(BaseModel):
    """What a stream carries besides text."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False


class _Generate(_Request):
    """What both ways of generating share."""

    model: str
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    """Beyond OpenAI's API; 0 means no limit."""
    n: int = Field(1, ge=1, le=MAX_CHOICES)
    seed: int | None = None
    """The same seed gives the same answer; without one it is drawn at random."""
    stop: str | list[str] | None = None
    max_tokens: int | None = Field(None, ge=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False
    """Beyond OpenAI's API: ``prompt_token_ids`` and each choice's ``token_ids``."""
    user: str | None = None
    presence_penalty: Zero | None = None
    frequency_penalty: Zero | None = None

    @property
    def stop_strings(self) -> list[str]:
        """``stop`` as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or [])


class CompletionRequest(_Generate):
    """``POST /v1/completions``."""

    prompt: str | list[int] | list[str] | list[list[int]]
    logprobs: int | None = Field(None, ge=0, le=1)
    """Log-prob of each chosen token; alternatives are not given."""
    echo: Literal[False] = False

    @field_validator("prompt")
    @classmethod
    def _not_empty(cls, prompt: Any) -> Any:
        if prompt == []:
            raise ValueError("a list of prompts must not be empty")
        return prompt

    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, one per group of ``n`` choices."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt  # type: ignore[return-value]


class ChatRequest(_Generate):
    """``POST /v1/chat/completions``."""

    messages: list[Annotated[Message, BeforeValidator(_plain_message)]] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    """OpenAI's newer name of ``max_tokens``; wins where both are given."""
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none"] = "auto"
    parallel_tool_calls: Literal[True] | None = None
    logprobs: bool = False
    top_logprobs: Zero | None = None
    """Alternatives per token are not given."""
    response_format: dict[Literal["type"], Literal["text"]] | None = None


class ScoreRequest(_Request):
    """``POST /score``: log-probs of continuations after one context."""

    model: str
    context: str | list[int]
    continuations: list[str] | list[list[int]]
    """Text is tokenized apart from the context, piece by piece."""
