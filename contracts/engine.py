"""The engine protocol: token ids in, token ids with log-probs out.

A request names everything that decides its output, so that the same request gives the
same tokens whatever else the engine is serving. Text, HTTP and chat templates are
layers above.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


class FinishReason(StrEnum):
    """Why a request ended."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"


class GuideKind(StrEnum):
    """In which language a guide says what may be generated."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    CHOICE = "choice"


@dataclass(frozen=True)
class Guide:
    """What the output must be, as text: the engine allows only tokens that can lead there."""

    kind: GuideKind
    text: str
    """A JSON schema, a regular expression, or a JSON list of strings."""


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is chosen. ``temperature`` 0 is greedy.

    The order: guide, bias, penalties, temperature, then ``min_p``, ``top_k`` and ``top_p``.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    """0 means no limit."""
    seed: int = 0
    stop_token_ids: tuple[int, ...] = ()
    """Generation ends after one of these; it is part of the output."""
    min_p: float = 0.0
    """Tokens less likely than this share of the likeliest are left out."""
    repetition_penalty: float = 1.0
    """Logits of tokens in prompt and output are divided by it (multiplied below zero)."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens in the output."""
    frequency_penalty: float = 0.0
    """Subtracted from a token's logit once for each time it is in the output."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(token id, number added to its logit)."""
    top_logprobs: int = 0
    """How many of the likeliest tokens to report at each step (``top_logprobs`` capability)."""
    guide: Guide | None = None
    """Capability ``guide``."""


@dataclass(frozen=True)
class EngineRequest:
    """One sequence to continue."""

    id: str
    prompt_ids: tuple[int, ...]
    sampling: SamplingParams = field(default_factory=SamplingParams)
    priority: int = 0
    """Smaller runs first."""
    adapter: str | None = None
    """Name of a loaded LoRA adapter (capability ``adapters``); None is the base model."""


@dataclass(frozen=True)
class TokenChunk:
    """Tokens that one step added to one request."""

    request_id: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Natural-log probability of each token before temperature and filters."""
    policy_version: int = 0
    finish_reason: FinishReason | None = None
    error: str | None = None
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] = ()
    """Per token the likeliest (id, log-prob) pairs, best first; empty where none were asked."""


@dataclass(frozen=True)
class Scored:
    """Log-probs of one continuation given its context."""

    logprobs: tuple[float, ...]
    greedy: bool
    """True where every token was the arg-max of its step."""

    @property
    def total(self) -> float:
        """Sum of the token log-probs, in nats."""
        return sum(self.logprobs)


@dataclass(frozen=True)
class EngineStats:
    """A reading of an engine's gauges."""

    running: int
    waiting: int
    tokens_generated: int
    tokens_prefilled: int
    max_context: int
    blocks_used: int = 0
    """Cache blocks that requests hold, of ``blocks_total``; 0 of 0 without a paged cache."""
    blocks_total: int = 0
    tokens_cached: int = 0
    """Prompt tokens found in the prefix cache so far."""
    preemptions: int = 0


class EngineError(Exception):
    """A request the engine refused or could not finish; the engine goes on."""


class PromptTooLong(EngineError):
    """Prompt and ``max_tokens`` do not fit the engine's context."""


class InvalidToken(EngineError):
    """A token id outside the vocabulary, or no token at all."""


class UnknownAdapter(EngineError):
    """A request names an adapter that is not loaded."""


class AdapterInUse(EngineError):
    """An adapter cannot be dropped while requests run with it."""


class InvalidSampling(EngineError):
    """A sampling parameter or guide that has no meaning."""


class Capability(StrEnum):
    """What an engine can do; callers check before they start."""

    IDS = "ids"
    SCORE = "score"
    SEED = "seed"
    UPDATE = "update"
    GUIDE = "guide"
    TOP_LOGPROBS = "top_logprobs"
    ADAPTERS = "adapters"
    """It is an ``AdapterEngine``."""


@runtime_checkable
class Engine(Protocol):
    """Anything that continues and scores token sequences."""

    capabilities: frozenset[Capability]
    model_digest: str
    """Says which weights answer; every score and trajectory records it."""

    def submit(self, request: EngineRequest) -> AsyncIterator[TokenChunk]:
        """Stream the continuation. Closing the stream early aborts the request.

        Raises:
            PromptTooLong, InvalidToken, InvalidSampling, UnknownAdapter: before the first
                chunk.
        """
        ...

    async def score(
        self, context_ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> list[Scored]:
        """Log-probs of each continuation after one shared context.

        An empty context scores each continuation from its second token on, its first
        counting as context.
        """
        ...

    async def abort(self, request_id: str) -> None:
        """End a request within a step; unknown ids are ignored."""
        ...

    async def update_weights(self, state: dict[str, Any], policy_version: int) -> None:
        """Replace weights in place (capability ``update``)."""
        ...

    def stats(self) -> EngineStats:
        """Current gauges."""
        ...

    def close(self) -> None:
        """Free the model and stop the engine's thread."""
        ...


@runtime_checkable
class AdapterEngine(Engine, Protocol):
    """An engine that holds LoRA adapters beside its model (capability ``adapters``)."""

    def adapters(self) -> dict[str, str]:
        """Digest of each loaded adapter, by name."""
        ...

    async def load_adapter(self, name: str, path: Path) -> None:
        """Load an adapter from a folder as peft writes it.

        Raises:
            EngineError: the name is taken, or the adapter is damaged or does not fit.
        """
        ...

    async def drop_adapter(self, name: str) -> None:
        """Forget an adapter.

        Raises:
            UnknownAdapter, AdapterInUse: nothing has changed.
        """
        ...

    async def score(
        self,
        context_ids: Sequence[int],
        continuations: Sequence[Sequence[int]],
        adapter: str | None = None,
    ) -> list[Scored]:
        """See ``Engine.score``; with an adapter where one is named."""
        ...
