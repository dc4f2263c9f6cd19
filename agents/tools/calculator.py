"""A calculator that never runs code: it walks the parsed expression itself.

Numbers are exact fractions, so ``0.1 + 0.2`` is ``0.3``. Length, size of every
intermediate result and exponents are bounded: no input makes it slow or large.
"""

import ast
import operator
from collections.abc import Callable
from fractions import Fraction

from contracts.tool import ToolError, tool

MAX_CHARACTERS = 200
QUOTED_CHARACTERS = 40
"""How much of a wrong expression an error repeats."""
MAX_BITS = 2048
"""Largest numerator or denominator of any intermediate result, in bits."""
SHOWN_DIGITS = 12
"""Significant digits of a result that is not a whole number."""

_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Fraction], Fraction]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


@tool(read_only=True, idempotent=True)
def calculator(expression: str) -> str:
    """Work out an arithmetic expression.

    Takes numbers, brackets and ``+ - * / // % **`` with whole exponents.

    Raises:
        ToolError: anything else, a division by zero, or a result out of bounds.
    """
    return _text(_value(_parse(expression)))


def _parse(expression: str) -> ast.expr:
    if len(expression) > MAX_CHARACTERS:
        raise ToolError(
            f"expression of {len(expression)} characters: at most {MAX_CHARACTERS} are allowed"
        )
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolError(f"{_short(expression)!r} is not an arithmetic expression") from None


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant):
        return _number(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _BINARY:
            return _divided_safely(_BINARY[type(node.op)], left, right)
    raise ToolError(
        f"{_short(ast.unparse(node))!r} is not allowed: only numbers and + - * / // % **"
    )


def _number(value: object) -> Fraction:
    # By type, not isinstance: True is an int in Python.
    if type(value) is int:
        return _bounded(Fraction(value))
    if type(value) is float:
        try:
            return _bounded(Fraction(repr(value)))  # repr: 0.1 means one tenth
        except ValueError:
            raise ToolError("a number is too large") from None
    raise ToolError(f"{value!r} is not a number")


def _divided_safely(
    operate: Callable[[Fraction, Fraction], Fraction], left: Fraction, right: Fraction
) -> Fraction:
    try:
        return _bounded(operate(left, right))
    except ZeroDivisionError:
        raise ToolError("division by zero") from None


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ToolError(f"exponent {_text(exponent)}: must be a whole number")
    if base == 0 and exponent < 0:
        raise ToolError("division by zero")
    if base in (0, 1):
        return base if exponent else Fraction(1)
    if base == -1:
        return Fraction(-1 if exponent % 2 else 1)
    # Refused before it is computed: 9 ** 9 ** 9 would take hours.
    if abs(exponent) * (_bits(base) - 1) > MAX_BITS:
        raise ToolError(f"the result is too large (over {MAX_BITS} bits)")
    return _bounded(base ** int(exponent))


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > MAX_BITS:
        raise ToolError(f"the result is too large (over {MAX_BITS} bits)")
    return value


def _short(text: str) -> str:
    return text if len(text) <= QUOTED_CHARACTERS else text[:QUOTED_CHARACTERS] + "..."


def _text(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    try:
        return f"{float(value):.{SHOWN_DIGITS}g}"
    except OverflowError:
        raise ToolError("the result is too large to show as a decimal") from None
