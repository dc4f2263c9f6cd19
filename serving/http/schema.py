"""Requests the endpoint takes. A field it cannot honour is refused, never ignored."""

import json
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from contracts.conversation import Message
from contracts.engine import Guide
from serving.http.formats import ResponseFormat, StructuredOutputs

MAX_CHOICES = 64


MAX_TOP = 20
"""Alternatives per token at most, as in OpenAI's API."""


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
        # OpenAI's API lets most fields be null, and clients send what they leave open so.
        return {key: field for key, field in value.items() if field is not None}


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
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    """Beyond OpenAI's API; 1 changes nothing."""
    min_p: float = Field(0.0, ge=0, le=1)
    """Beyond OpenAI's API; 0 leaves nothing out."""
    logit_bias: dict[int, Annotated[float, Field(ge=-100, le=100)]] | None = None
    """Token id -> number added to its logit."""
    structured_outputs: StructuredOutputs | None = None
    """Beyond OpenAI's API: what the text must be."""
    priority: int = 0
    """Beyond OpenAI's API: smaller runs first."""

    @property
    def alternatives(self) -> int:
        """Likeliest tokens to report per step."""
        return 0

    def guide(self) -> Guide | None:
        """What the engine must hold the text to."""
        return self.structured_outputs.guide() if self.structured_outputs else None

    @property
    def stop_strings(self) -> list[str]:
        """``stop`` as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or [])


class CompletionRequest(_Generate):
    """``POST /v1/completions``."""

    prompt: str | list[int] | list[str] | list[list[int]]
    logprobs: int | None = Field(None, ge=0, le=MAX_TOP)
    """Log-prob of each chosen token, and of that many of the likeliest."""
    echo: Literal[False] = False

    @property
    def alternatives(self) -> int:
        """Likeliest tokens to report per step."""
        return self.logprobs or 0

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
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP)
    """Likeliest tokens to report per step; needs ``logprobs``."""
    response_format: ResponseFormat | None = None

    @property
    def alternatives(self) -> int:
        """Likeliest tokens to report per step."""
        return self.top_logprobs or 0

    @model_validator(mode="after")
    def _fits_together(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise PydanticCustomError("needs_logprobs", "top_logprobs needs logprobs: true")
        if self.structured_outputs and self.response_format and self.response_format.guide():
            raise PydanticCustomError(
                "two_guides", "give response_format or structured_outputs, not both"
            )
        return self

    def guide(self) -> Guide | None:
        """What the engine must hold the text to."""
        asked = self.response_format.guide() if self.response_format else None
        return asked or super().guide()


class ScoreRequest(_Request):
    """``POST /score``: log-probs of continuations after one context."""

    model: str
    context: str | list[int]
    continuations: list[str] | list[list[int]]
    """Text is tokenized apart from the context, piece by piece."""
