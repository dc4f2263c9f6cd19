"""Parts that whole and streamed answers share."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from contracts.engine import EngineRequest, FinishReason
from serving.engine.text import TextPiece
from serving.tokenizer import ChatTokenizer


@dataclass
class Choice:
    """One choice as it grows."""

    request: EngineRequest
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    policy_version: int = 0
    finish_reason: str | None = None

    def add(self, piece: TextPiece) -> None:
        """Take one more piece."""
        self.text += piece.text
        self.token_ids += piece.token_ids
        self.logprobs += piece.logprobs
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


def chat_logprobs(tokenizer: ChatTokenizer, ids: Any, logprobs: Any) -> dict[str, Any]:
    """``choices[].logprobs`` of a chat."""
    content = []
    for token_id, logprob in zip(ids, logprobs, strict=True):
        token = tokenizer.decode([token_id])
        entry = {"token": token, "logprob": logprob, "bytes": None, "top_logprobs": []}
        content.append(entry)
    return {"content": content, "refusal": None}


def plain_logprobs(
    tokenizer: ChatTokenizer, ids: Any, logprobs: Any, offset: int = 0
) -> dict[str, Any]:
    """``choices[].logprobs`` of a completion; offsets in characters of decoded tokens."""
    tokens = [tokenizer.decode([token_id]) for token_id in ids]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return {
        "tokens": tokens,
        "token_logprobs": list(logprobs),
        "top_logprobs": None,
        "text_offset": offsets,
    }
