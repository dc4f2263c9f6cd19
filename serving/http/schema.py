"""Requests the endpoint takes. A field it cannot honour is refused, never ignored."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.conversation import Message

MAX_CHOICES = 64


class StreamOptions(BaseModel):
    """What a stream carries besides text."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False


class _Generate(BaseModel):
    """What both ways of generating share."""

    model_config = ConfigDict(extra="forbid")

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
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None

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

    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, one per group of ``n`` choices."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt  # type: ignore[return-value]


class ChatRequest(_Generate):
    """``POST /v1/chat/completions``."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    """OpenAI's newer name of ``max_tokens``; wins where both are given."""
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none"] = "auto"
    parallel_tool_calls: Literal[True] | None = None
    logprobs: bool = False
    top_logprobs: Literal[0] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None


class ScoreRequest(BaseModel):
    """``POST /score``: log-probs of continuations after one context."""

    model_config = ConfigDict(extra="forbid")

    model: str
    context: str | list[int]
    continuations: list[str] | list[list[int]]
    """Text is tokenized apart from the context, piece by piece."""
