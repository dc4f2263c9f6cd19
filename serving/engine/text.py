"""From an engine's token chunks to text: whole characters, stop strings, finish reasons."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from contracts.engine import Engine, EngineError, EngineRequest, FinishReason
from serving.engine.errors import Interrupted
from serving.tokenizer import ChatTokenizer


@dataclass(frozen=True)
class TextPiece:
    """What one step added: tokens, and the text that is settled by now."""

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    policy_version: int
    finish_reason: FinishReason | None = None
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] = ()
    """Per token the likeliest (id, log-prob) pairs, where they were asked for."""


class StopScanner:
    """Lets text through up to the first stop string, holding back what may begin one."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [s for s in stop if s]
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Text that may be shown, and whether a stop string was met (it is left out)."""
        self._held += text
        places = [p for p in (self._held.find(s) for s in self._stop) if p >= 0]
        if places:
            return self._held[: min(places)], True
        cut = len(self._held) - self._longest_beginning()
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown, False

    def finish(self) -> str:
        """What was held back, when no more text comes."""
        held, self._held = self._held, ""
        return held

    def _longest_beginning(self) -> int:
        sizes = range(1, len(self._held) + 1)
        return max(
            (n for n in sizes for s in self._stop if s.startswith(self._held[-n:])), default=0
        )


async def generate_text(
    engine: Engine, tokenizer: ChatTokenizer, request: EngineRequest, stop: Sequence[str] = ()
) -> AsyncIterator[TextPiece]:
    """Stream a request as text. Stop tokens are in ``token_ids`` but not in ``text``.

    Raises:
        PromptTooLong, InvalidToken, InvalidSampling: before the first piece.
        Interrupted: the engine closed or the request was aborted: what came so far is no
            answer.
        EngineError: the engine failed on this request.
    """
    detokenizer = tokenizer.detokenizer()
    scanner = StopScanner(stop)
    stream: Any = engine.submit(request)
    async with aclosing(stream):
        async for chunk in stream:
            if chunk.finish_reason == FinishReason.ABORT:
                raise Interrupted("the request was aborted before its end; ask again")
            if chunk.finish_reason == FinishReason.ERROR:
                raise EngineError(chunk.error or "the engine failed")
            silent = set(request.sampling.stop_token_ids) & set(chunk.token_ids)
            text = "".join(detokenizer.feed(t) for t in chunk.token_ids if t not in silent)
            reason = chunk.finish_reason
            if reason is not None:
                text += detokenizer.finish()
            shown, stopped = scanner.feed(text)
            if stopped:
                reason = FinishReason.STOP
            elif reason is not None:
                shown += scanner.finish()
            yield TextPiece(
                shown,
                chunk.token_ids,
                chunk.logprobs,
                chunk.policy_version,
                reason,
                chunk.top_logprobs,
            )
            if reason is not None:
                return
