import ast
import random
import re
import string

import pytest

from corpus.sources.docstrings import MAX_SIGNATURE, module_document

HEADING = re.compile(r"^## ([\w.]+)\((.*)\)$", re.MULTILINE)

SOURCE = b'''
"""Module summary.

    More of it.
"""
import os

def add(a: int, b: int = 1, *, scale=1.0) -> int:
    """Add two numbers.

    Returns their sum.
    """

def _private():
    """Hidden."""

def bare(): ...

class Stack(list):
    """A stack."""

    def __init__(self, items=()):
        """Not listed."""

    def push(self, item):
        """Put one on top."""

    @staticmethod
    def empty(size):
        """An empty one."""

    async def drain(self):
        """Put one on top."""
'''


def test_headings_and_docstrings_in_order() -> None:
    text, judged = module_document("pkg.mod", SOURCE)
    assert text.startswith("# pkg.mod\n\nModule summary.\n\nMore of it.\n\n## pkg.mod.add(")
    assert HEADING.findall(text) == [
        ("pkg.mod.add", "a: int, b: int=1, *, scale=1.0"),
        ("pkg.mod.Stack", "items=()"),
        ("pkg.mod.Stack.push", "item"),
        ("pkg.mod.Stack.empty", "size"),
    ]
    assert "\n\nAdd two numbers.\n\nReturns their sum.\n\n" in text
    assert "Hidden" not in text
    assert "Not listed" not in text
    assert "##" not in judged
    assert "Put one on top." in judged


def test_a_docstring_that_stood_before_is_left_out() -> None:
    text, _ = module_document("pkg.mod", SOURCE)
    assert text.count("Put one on top.") == 1
    assert "drain" not in text


def test_a_module_without_docstrings_is_no_document() -> None:
    assert module_document("pkg.mod", b"x = 1\ndef f(): ...\n") == ("", "")


@pytest.mark.parametrize("source", [b"def f(:\n", b"x = '\xff'\n", b"\x00\x01"])
def test_broken_source_raises(source: bytes) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        module_document("pkg.mod", source)


def test_random_signatures_stay_on_one_line_and_parse_back() -> None:
    rng = random.Random()
    for _ in range(50):
        names = ["p" + "".join(rng.choices(string.ascii_lowercase, k=8)) for _ in range(30)]
        count = rng.randint(0, 30)
        parameters = ", ".join(
            f"{n}: 'dict[str, int]' = {rng.randint(0, 9)}" for n in names[:count]
        )
        source = f'def f({parameters}):\n    """Doc."""\n'.encode()
        text, _ = module_document("m", source)
        ((name, signature),) = HEADING.findall(text)
        assert name == "m.f"
        assert len(signature) <= MAX_SIGNATURE + len(", ...")
        if not signature.endswith("..."):
            ast.parse(f"def f({signature}): pass")
