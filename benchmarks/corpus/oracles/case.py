"""A case, and how our answer to it is judged."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class NotOursError(Exception):
    """We define no such rule; the message says why."""


@dataclass(frozen=True)
class Call:
    """The rule that a case names, with its arguments."""

    name: str
    args: tuple[Any, ...]
    named: dict[str, Any]

    def get(self, name: str, position: int, default: Any = None) -> Any:
        """An argument by name or position."""
        if name in self.named:
            return self.named[name]
        return self.args[position] if position < len(self.args) else default


Answer = Callable[[Call, Any, Any], bool]
"""(call, input, expected) -> whether our answer is the expected one."""


def parse(case: dict[str, Any]) -> Call:
    """The call of a case: ``op`` with its own arguments, or with those of ``params``."""
    operator = case["op"] or ""
    name = operator.partition("(")[0]
    if name == "ScoreFilter":
        operator = operator.removeprefix("ScoreFilter(")[:-1]
        name = operator.partition("(")[0]
    source = operator if "(" in operator else f"{name}()"
    if case.get("params"):
        source = f"{name}({', '.join(case['params'])})"
    try:
        node = ast.parse(source, mode="eval").body
    except SyntaxError:
        return Call(name, (), {})
    if not isinstance(node, ast.Call):
        return Call(name, (), {})
    named = {word.arg: _value(word.value) for word in node.keywords if word.arg}
    return Call(name, tuple(map(_value, node.args)), named)


def kept_lines(text: str) -> list[str]:
    """Lines that are not empty, stripped: what texts are compared by after lines went."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def _value(node: ast.expr) -> Any:
    """A literal, or arithmetic of literals; a variable of the test is not in the case."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        pass
    if any(isinstance(inner, ast.Name) for inner in ast.walk(node)):
        return NotImplemented
    return eval(compile(ast.Expression(node), "case", "eval"), {"__builtins__": {}})
