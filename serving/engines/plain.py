"""What adapters of other engines share: checks, counts, and what they do not offer."""

from collections.abc import Sequence
from typing import Any

from contracts.engine import Capability, EngineError, EngineRequest, EngineStats, Scored
from serving.engine.checks import check_request
from serving.engines.offered import check_offered


class OtherEngine:
    """The parts of the protocol that an adapter need not write again."""

    capabilities = frozenset({Capability.IDS, Capability.SEED})
    offered: tuple[str, ...] = (
        "max_tokens",
        "stop_token_ids",
        "temperature",
        "seed",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
    )
    """Sampling parameters that are handed on; any other is refused."""
    alive = True
    """Its own supervision ends requests where it dies."""

    def __init__(self, max_context: int, vocab_size: int, digest: str) -> None:
        self.model_digest = digest
        self._max_context = max_context
        self._vocab_size = vocab_size
        self._running: set[str] = set()
        self._generated = self._prefilled = 0

    def stats(self) -> EngineStats:
        """Current gauges; which of its requests run and which wait it does not say."""
        running = len(self._running)
        return EngineStats(running, 0, self._generated, self._prefilled, self._max_context)

    async def score(
        self, context_ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> list[Scored]:
        """Not offered."""
        raise EngineError("score: this engine does not offer it; use paged or transformers")

    async def update_weights(self, state: dict[str, Any], policy_version: int) -> None:
        """Not offered."""
        raise EngineError("update_weights: this engine does not offer it; use paged")

    def _enter(self, request: EngineRequest) -> None:
        """Check a request and count it in.

        Raises:
            PromptTooLong, InvalidToken, InvalidSampling, UnknownAdapter: it cannot run.
            EngineError: one of its id runs.
        """
        check_request(request, self._max_context, self._vocab_size)
        check_offered(request, self.offered)
        if request.id in self._running:
            raise EngineError(f"a request with id {request.id!r} is running already")
        self._running.add(request.id)
        self._prefilled += len(request.prompt_ids)
