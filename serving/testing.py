"""Engines without a model: for tests, and as the controls of an evaluation."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np

from contracts.engine import (
    Capability,
    EngineError,
    EngineRequest,
    EngineStats,
    FinishReason,
    InvalidToken,
    PromptTooLong,
    Scored,
    TokenChunk,
    UnknownAdapter,
)
from contracts.manifest import canonical_json, hash_bytes
from serving.engine.errors import Interrupted

Generate = Callable[[Sequence[int], EngineRequest], Sequence[int]]
"""(prompt ids, request) -> ids of the continuation."""
Score = Callable[[Sequence[int], Sequence[int]], Sequence[float]]
"""(context ids, continuation ids) -> a log-prob per scored token."""


class ScriptedEngine:
    """Answers what its callables say, at the pace of one token per chunk.

    An oracle is one whose callables know the right answers. ``logprobs`` of generated
    tokens are 0: a script is certain.
    """

    capabilities = frozenset({Capability.IDS, Capability.SCORE, Capability.SEED})

    def __init__(
        self,
        generate: Generate,
        score: Score,
        *,
        vocab_size: int,
        max_context: int = 1 << 20,
        model_digest: str = "scripted",
    ) -> None:
        self.model_digest = model_digest
        self._generate = generate
        self._score = score
        self._vocab_size = vocab_size
        self._max_context = max_context
        self._running: set[str] = set()
        self._aborted: set[str] = set()
        self._generated = 0
        self._prefilled = 0
        self._closed = False

    async def submit(self, request: EngineRequest) -> AsyncIterator[TokenChunk]:
        """Stream what ``generate`` returns, cut at a stop token or ``max_tokens``."""
        self._check(request)
        self._running.add(request.id)
        self._prefilled += len(request.prompt_ids)
        try:
            ids = list(self._generate(request.prompt_ids, request))
            ids = ids[: request.sampling.max_tokens]
            for index, token in enumerate(ids):
                if request.id in self._aborted:
                    yield TokenChunk(request.id, (), (), 0, FinishReason.ABORT)
                    return
                reason = self._reason(request, ids, index)
                self._generated += 1
                yield TokenChunk(request.id, (token,), (self._logprob(token),), 0, reason)
                if reason is not None:
                    return
            yield TokenChunk(request.id, (), (), 0, FinishReason.STOP)
        finally:
            self._running.discard(request.id)
            self._aborted.discard(request.id)

    async def score(
        self, context_ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> list[Scored]:
        """Log-probs as ``score`` says; ``greedy`` where all of them are 0.

        Raises:
            EngineError: ``score`` returned another number of log-probs than is scored.
        """
        rows = []
        for continuation in continuations:
            self._check_ids([*context_ids, *continuation])
            logprobs = tuple(float(x) for x in self._score(context_ids, continuation))
            wanted = len(continuation) - (0 if context_ids or not continuation else 1)
            if len(logprobs) != wanted:
                raise EngineError(f"score gave {len(logprobs)} log-probs for {wanted} tokens")
            rows.append(Scored(logprobs, all(x == 0 for x in logprobs)))
        return rows

    async def abort(self, request_id: str) -> None:
        """End a request at its next token."""
        if request_id in self._running:
            self._aborted.add(request_id)

    async def update_weights(self, state: dict[str, Any], policy_version: int) -> None:
        """Not offered: there are no weights."""
        raise EngineError("update_weights: this engine has no weights")

    def stats(self) -> EngineStats:
        """Current gauges."""
        return EngineStats(
            len(self._running), 0, self._generated, self._prefilled, self._max_context
        )

    def close(self) -> None:
        """Refuse further requests."""
        self._closed = True

    def _logprob(self, token: int) -> float:
        return 0.0

    def _reason(self, request: EngineRequest, ids: list[int], index: int) -> FinishReason | None:
        if ids[index] in request.sampling.stop_token_ids:
            return FinishReason.STOP
        return FinishReason.LENGTH if index + 1 == request.sampling.max_tokens else None

    def _check(self, request: EngineRequest) -> None:
        if self._closed:
            raise Interrupted("the engine is closed")
        if not request.prompt_ids:
            raise InvalidToken("the prompt is empty; an engine continues at least one token")
        wanted = len(request.prompt_ids) + request.sampling.max_tokens
        if wanted > self._max_context:
            raise PromptTooLong(f"{wanted} tokens wanted; the context is {self._max_context}")
        if request.adapter is not None:
            raise UnknownAdapter(f"no adapter {request.adapter!r}: this engine has none")
        self._check_ids(request.prompt_ids)

    def _check_ids(self, ids: Sequence[int]) -> None:
        for token in ids:
            if not 0 <= token < self._vocab_size:
                raise InvalidToken(f"token id {token} is outside {self._vocab_size}")


class UniformEngine(ScriptedEngine):
    """Knows nothing: every token and every option is as likely as any other.

    Each scored continuation gets one mean log-prob per token, drawn evenly within 5 % of
    ``-ln(vocabulary)`` from a hash of seed, context and continuation. So the best of n
    options by mean (or of options of equal length by total) is each with chance 1/n, the
    same question asked again gets the same answer, and the loss is ``ln(vocabulary)``.
    """

    def __init__(self, vocab_size: int, seed: int = 0, max_context: int = 1 << 20) -> None:
        self._seed = seed
        super().__init__(
            self._random_ids,
            self._random_logprobs,
            vocab_size=vocab_size,
            max_context=max_context,
            model_digest=f"uniform-{vocab_size}-{seed}",
        )

    def _logprob(self, token: int) -> float:
        return -math.log(self._vocab_size)

    def _random_ids(self, prompt: Sequence[int], request: EngineRequest) -> Sequence[int]:
        generator = self._keyed(list(prompt), [request.sampling.seed])
        return generator.integers(0, self._vocab_size, request.sampling.max_tokens).tolist()

    def _random_logprobs(self, context: Sequence[int], ids: Sequence[int]) -> Sequence[float]:
        scored = len(ids) - (0 if context or not ids else 1)
        spread = 0.95 + 0.1 * self._keyed(list(context), list(ids)).random()
        return [-math.log(self._vocab_size) * spread] * scored

    def _keyed(self, *parts: list[int]) -> np.random.Generator:
        plain = [[int(x) for x in part] for part in parts]
        key = hash_bytes(canonical_json([self._seed, *plain]))
        return np.random.default_rng(int(key[:16], 16))
