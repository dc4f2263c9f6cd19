"""Finds tool calls in what a model writes, all at once or as the text arrives.

A call is ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``. What is not
exactly that stays text: nothing is repaired and nothing is dropped.
"""

import json
import math
from typing import Any

from contracts.conversation import FunctionCall, Message, ToolCall
from contracts.manifest import hash_bytes

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
MAX_DEPTH = 64
"""Nesting of a call's arguments. A fixed bound, for the interpreter's own depends on its caller."""


def parse_call(body: str, index: int) -> ToolCall | None:
    """The call a body between the tags spells, or None where it is malformed.

    ``arguments`` keep the model's own spelling where the call is written as the chat
    template writes it, so that rendering the message again gives the same text.
    """
    try:
        value = _strict_json(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.keys() != {"name", "arguments"}:
        return None
    name, arguments = value["name"], value["arguments"]
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    spelled = json.dumps(arguments, ensure_ascii=False)
    prefix = _opening(name)
    if body.startswith(prefix) and body.endswith("}"):
        spelled = body[len(prefix) : -1]
    call_id = f"call_{hash_bytes(body.encode())[:8]}_{index}"
    return ToolCall(id=call_id, function=FunctionCall(name=name, arguments=spelled))


def _strict_json(body: str) -> Any:
    """The value a body spells.

    Raises:
        ValueError: no JSON (RFC 8259), a number beyond a float or Python's limit of digits,
            a key given twice, half a surrogate pair, or nested deeper than ``MAX_DEPTH``.
        RecursionError: nested far deeper.
    """
    value = json.loads(
        body, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_unrepeated
    )
    if _deeper(value, 1 + MAX_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    body.encode()
    json.dumps(value, ensure_ascii=False).encode()  # escapes may spell what UTF-8 cannot
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is given twice")
    return value


def _deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper(each, depth - 1) for each in inner)


def _opening(name: str) -> str:
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": '


def spell_call(name: str, arguments: str) -> str:
    """A call as the chat template writes it."""
    return f"{OPEN}{_opening(name)}{arguments}}}{CLOSE}"


class ToolCallSplitter:
    """Splits a growing text into content and calls."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False
        self._calls = 0

    def feed(self, text: str) -> list[str | ToolCall]:
        """Take more text; returns the pieces of content and the calls it settles."""
        self._held += text
        pieces: list[str | ToolCall] = []
        while True:
            tag = CLOSE if self._inside else OPEN
            before, found, after = self._held.partition(tag)
            if not found:
                break
            self._held = after
            pieces.append(self._call(before) if self._inside else before)
            self._inside = not self._inside
        if not self._inside:
            keep = _partial_suffix(self._held, OPEN)
            cut = len(self._held) - keep
            pieces.append(self._held[:cut])
            self._held = self._held[cut:]
        return [piece for piece in pieces if piece != ""]

    def finish(self) -> list[str | ToolCall]:
        """What is left when the text ends: an unclosed call is content."""
        rest = (OPEN if self._inside else "") + self._held
        self._held, self._inside = "", False
        return [rest] if rest else []

    def _call(self, body: str) -> str | ToolCall:
        call = parse_call(body, self._calls)
        if call is None:
            return f"{OPEN}{body}{CLOSE}"
        self._calls += 1
        return call


def parse_message(text: str) -> Message:
    """An assistant message from its whole text."""
    splitter = ToolCallSplitter()
    pieces = splitter.feed(text) + splitter.finish()
    content = "".join(piece for piece in pieces if isinstance(piece, str))
    calls = [piece for piece in pieces if isinstance(piece, ToolCall)]
    return Message(role="assistant", content=content or None, tool_calls=calls or None)


def _partial_suffix(text: str, tag: str) -> int:
    """Length of the longest end of ``text`` that may be the beginning of ``tag``."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-size:]):
            return size
    return 0
