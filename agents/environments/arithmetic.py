"""Sums of two numbers below a hundred: the smallest task that needs a tool.

Train and validation never share a sum: a hash of the unordered pair of operands decides,
so ``37 + 5`` and ``5 + 37`` fall on the same side whatever the seed. About a tenth of the
pairs is validation, and no training data may be made from it.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count as count_from
from itertools import islice

from blake3 import blake3

from contracts.conversation import Message
from contracts.documents import TRAIN, VALIDATION

OPERANDS = range(100)
VALIDATION_PERCENT = 10
PHRASINGS = (
    "What is {a} + {b}?",
    "{a} + {b} = ?",
    "Compute {a} + {b}.",
    "How much is {a} plus {b}?",
    "Add {a} and {b}.",
    "What is the sum of {a} and {b}?",
)
MAX_EXPRESSION_CHARACTERS = 200
_INTEGER = re.compile(r"-?\d+")


@dataclass(frozen=True)
class Problem:
    """One sum, asked in words."""

    id: str
    """Stable name, e.g. ``37+5/0``: the operands in order and the phrasing."""
    a: int
    b: int
    question: str
    answer: int


@dataclass(frozen=True)
class AnswerGrader:
    """A ``contracts.grader.Grader``: 1 where the last message states the right sum."""

    problem: Problem

    def __call__(self, messages: list[Message]) -> float:
        """Reward of a finished episode, 0 or 1."""
        last = messages[-1] if messages else None
        if last is None or last.role != "assistant" or last.tool_calls:
            return 0.0
        return float(stated_answer(last.content or "") == self.problem.answer)


def split_of(a: int, b: int) -> str:
    """``train`` or ``validation``, the same for ``(a, b)`` and ``(b, a)``."""
    low, high = sorted((a, b))
    return VALIDATION if _hash("split", low, high) % 100 < VALIDATION_PERCENT else TRAIN


def problems(split: str, count: int, seed: int) -> list[Problem]:
    """The first ``count`` problems of a split in the order that ``seed`` gives.

    Every sum comes once before any comes again, so a validation set of a few hundred has
    no doubles. Prefixes agree: ``problems(s, 10, k) == problems(s, 99, k)[:10]``.

    Raises:
        ValueError: unknown split or negative count.
    """
    if split not in (TRAIN, VALIDATION):
        raise ValueError(f"split {split!r}: must be {TRAIN!r} or {VALIDATION!r}")
    if count < 0:
        raise ValueError(f"count {count}: must not be negative")
    return list(islice(_endless(split, seed), count))


def stated_answer(text: str) -> int | None:
    """The last whole number in ``text``, or None where there is none."""
    found = _INTEGER.findall(text)
    # int() refuses thousands of digits; no sum of ours has more than three.
    return int(found[-1]) if found and len(found[-1]) <= 18 else None


def is_correct_call(problem: Problem, name: str, arguments_json: str) -> bool:
    """Whether a call adds just the problem's two operands with the calculator.

    Either order counts, and so do spaces and brackets; further terms, other operators
    and the plain result do not.
    """
    if name != "calculator":
        return False
    operands = _operands(arguments_json)
    return operands is not None and sorted(operands) == sorted((problem.a, problem.b))


def _operands(arguments_json: str) -> tuple[int, int] | None:
    """The two integers that the call adds, or None for any other call."""
    try:
        arguments = json.loads(arguments_json)
        if not isinstance(arguments, dict) or set(arguments) != {"expression"}:
            return None
        expression = arguments["expression"]
        if not isinstance(expression, str) or len(expression) > MAX_EXPRESSION_CHARACTERS:
            return None
        node = ast.parse(expression.strip(), mode="eval").body
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)):
        return None
    left, right = _integer(node.left), _integer(node.right)
    return None if left is None or right is None else (left, right)


def _integer(node: ast.expr) -> int | None:
    # bool is an int in Python: `True + 41` is no sum of ours.
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return None


@cache
def _pairs(split: str) -> tuple[tuple[int, int], ...]:
    return tuple((a, b) for a in OPERANDS for b in OPERANDS if split_of(a, b) == split)


def _endless(split: str, seed: int) -> Iterator[Problem]:
    for epoch in count_from():
        keyed = [(_hash("order", seed, epoch, a, b), a, b) for a, b in _pairs(split)]
        for key, a, b in sorted(keyed):
            phrasing = key % len(PHRASINGS)
            question = PHRASINGS[phrasing].format(a=a, b=b)
            yield Problem(f"{a}+{b}/{phrasing}", a, b, question, a + b)


def _hash(*parts: str | int) -> int:
    text = "/".join(map(str, ("arithmetic", *parts)))
    return int.from_bytes(blake3(text.encode()).digest(8), "little")
