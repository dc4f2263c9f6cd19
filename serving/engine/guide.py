"""Guided decoding: which tokens may come next so that the output matches a grammar.

The grammars are llguidance's; it compiles JSON schemas, regular expressions and choices to
one kind of parser and gives the allowed tokens of each step as a bit per token.
"""

import json
import threading
from collections.abc import Callable
from typing import Any

import llguidance
import llguidance.hf
import numpy as np
import torch

from contracts.engine import EngineError, Guide, GuideKind, InvalidSampling

_WHITESPACE = r"[ \n]?"
"""What may stand between the parts of JSON: a model that likes spaces still comes to an end."""


class Matcher:
    """One request's place in its grammar."""

    def __init__(self, matcher: llguidance.LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    def allowed(self) -> torch.Tensor:
        """(vocabulary,): True where the token may come next.

        Raises:
            EngineError: nothing can, or the grammar grew too complex.
        """
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            raise EngineError(f"the guide failed: {_reason(self._matcher)}")
        bits = np.unpackbits(packed, bitorder="little")[: self._vocab_size].astype(bool)
        allowed = torch.zeros(self._vocab_size, dtype=torch.bool)
        allowed[: len(bits)] = torch.from_numpy(bits)
        return allowed

    def take(self, token: int) -> None:
        """Move on by a token.

        Raises:
            EngineError: the grammar does not go on, or grew too complex.
        """
        if not self._matcher.consume_token(token):
            raise EngineError(f"the guide failed: {_reason(self._matcher)}")

    @property
    def complete(self) -> bool:
        """Whether nothing may follow any more."""
        return bool(self._matcher.is_stopped())


class Guides:
    """Compiles guides for one model's vocabulary."""

    def __init__(self, tokenizer: Callable[[], tuple[Any, list[int]]], vocab_size: int) -> None:
        """Args:
        tokenizer: loads the tokenizer and the ids that end an answer, when first needed.
        vocab_size: rows of the model's output.
        """
        self._load = tokenizer
        self._vocab_size = vocab_size
        self._lock = threading.Lock()
        self._tokenizer: llguidance.LLTokenizer | None = None

    def matcher(self, guide: Guide) -> Matcher:
        """A matcher at its beginning. May take a second; callable from any thread.

        Raises:
            InvalidSampling: the guide is none.
        """
        grammar = _grammar(guide)
        matcher = llguidance.LLMatcher(self._own_tokenizer(), grammar, log_level=0)
        if not matcher.is_error():
            matcher.compute_bitmask()  # a schema that refers to nothing but itself fails here
        if matcher.is_error():
            raise InvalidSampling(f"guide: no usable {guide.kind.value}: {_reason(matcher)}")
        return Matcher(matcher, self._vocab_size)

    def _own_tokenizer(self) -> llguidance.LLTokenizer:
        with self._lock:
            if self._tokenizer is None:
                tokenizer, stops = self._load()
                size = max(self._vocab_size, len(tokenizer))
                self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, size, stops or None)
            return self._tokenizer


def _reason(matcher: llguidance.LLMatcher) -> str:
    """Why it failed: the first line of what it says, and a parser's reason further down."""
    first, *more = matcher.get_error().strip().splitlines() or ["it gives no reason"]
    if first == "NoExtensionBias":
        return "no text matches it from here on"
    return " ".join([first, *(line for line in more if line.startswith("error:"))])


def _grammar(guide: Guide) -> str:
    try:
        if guide.kind == GuideKind.JSON_SCHEMA:
            options: Any = {"whitespace_pattern": _WHITESPACE}
            return llguidance.LLMatcher.grammar_from_json_schema(guide.text, overrides=options)
        if guide.kind == GuideKind.REGEX:
            return llguidance.LLMatcher.grammar_from_regex(guide.text)
        choices = json.loads(guide.text)
        if not choices or not all(isinstance(c, str) and c for c in choices):
            raise ValueError("choices must be a list of strings, none empty")
        spelled = " | ".join(_spelled(choice) for choice in choices)
        return llguidance.LLMatcher.grammar_from_lark(f"start: {spelled}")
    except (ValueError, TypeError) as error:
        raise InvalidSampling(f"guide: no usable {guide.kind.value}: {error}") from error


def _spelled(choice: str) -> str:
    """A string of the grammar. JSON lets DEL stand as it is, the grammar's lexer does not."""
    return json.dumps(choice, ensure_ascii=False).replace("\x7f", "\\u007f")
