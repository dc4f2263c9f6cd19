"""Parts that whole and streamed answers share."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from contracts.engine import EngineRequest, FinishReason
from serving.engine.text import TextPiece
from serving.tokenizer import ChatTokenizer

Pairs = tuple[tuple[int, float], ...]
"""(token id, log-prob), the likeliest first."""


@dataclass
class Choice:
    """One choice as it grows."""

    request: EngineRequest
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    policy_version: int = 0
    finish_reason: str | None = None
    top_logprobs: list[Pairs] = field(default_factory=list)

    def add(self, piece: TextPiece) -> None:
        """Take one more piece."""
        self.text += piece.text
        self.token_ids += piece.token_ids
        self.logprobs += piece.logprobs
        self.top_logprobs += piece.top_logprobs
        self.policy_version = piece.policy_version
        if piece.finish_reason is not None:
            self.finish_reason = finish_name(piece.finish_reason)


def finish_name(reason: FinishReason) -> str:
    """OpenAI's word for an answer that came to its end."""
    return "length" if reason == FinishReason.LENGTH else "stop"


def envelope(prefix: str, kind: str, model: str, digest: str) -> dict[str, Any]:
    """Fields that every answer begins with; the fingerprint is the model's digest."""
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": digest,
    }


def usage(choices: list[Choice]) -> dict[str, int]:
    """Token counts; a prompt shared by several choices counts once."""
    prompts = {choice.request.prompt_ids for choice in choices}
    prompt = sum(len(ids) for ids in prompts)
    output = sum(len(choice.token_ids) for choice in choices)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }


def chat_logprobs(tokenizer: ChatTokenizer, said: Choice | TextPiece) -> dict[str, Any]:
    """``choices[].logprobs`` of a chat."""
    content = []
    tops = said.top_logprobs or [()] * len(said.token_ids)
    for token_id, logprob, top in zip(said.token_ids, said.logprobs, tops, strict=True):
        entry = _entry(tokenizer, token_id, logprob)
        entry["top_logprobs"] = [_entry(tokenizer, *pair) for pair in top]
        content.append(entry)
    return {"content": content, "refusal": None}


def _entry(tokenizer: ChatTokenizer, token_id: int, logprob: float) -> dict[str, Any]:
    piece = tokenizer.token_bytes(token_id)
    return {
        "token": tokenizer.decode([token_id]),
        "logprob": logprob,
        "bytes": None if piece is None else list(piece),
    }


def plain_logprobs(
    tokenizer: ChatTokenizer, said: Choice | TextPiece, offset: int = 0
) -> dict[str, Any]:
    """``choices[].logprobs`` of a completion; offsets in characters of decoded tokens."""
    tokens = [tokenizer.decode([token_id]) for token_id in said.token_ids]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    tops = [{tokenizer.decode([i]): p for i, p in reversed(top)} for top in said.top_logprobs]
    return {
        "tokens": tokens,
        "token_logprobs": list(said.logprobs),
        "top_logprobs": tops or None,
        "text_offset": offsets,
    }
