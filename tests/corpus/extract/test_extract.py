import time

import pytest

from corpus.extract.config import ExtractConfig
from corpus.extract.markup import readable
from corpus.extract.page import extract_page

PAGE = """<html><head><title>t</title><script>var x = 1;</script></head><body>
<nav><a href="/">Home</a><a href="/about">About us</a></nav>
<article><h1>A heading</h1><p>{}</p><p>Second paragraph.</p></article>
<footer>Copyright</footer></body></html>"""
TEXT_ONLY = ExtractConfig(metadata=False)


def test_main_content_without_navigation_and_scripts() -> None:
    sentence = "The article says something of interest about caf\u00e9s and their owners. " * 5
    text = extract_page(PAGE.format(sentence).encode("latin-1"), TEXT_ONLY).text
    assert "caf\u00e9s and their owners" in text
    assert "Second paragraph." in text
    assert "var x" not in text


@pytest.mark.parametrize("page", [b"", b"\xff\xfe\x00", b"<" * 5000, b"<p>open <b>never closed"])
def test_hostile_pages_do_not_raise(page: bytes) -> None:
    assert isinstance(extract_page(page, TEXT_ONLY).text, str)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("[![build](http://a/b.svg)](http://ci)\ntext", "\ntext"),
        ("see [the docs](http://x/(y)) here", "see the docs here"),
        ("a <b>bold</b> <br/>word", "a bold word"),
        ("1 < 2 and x<y", "1 < 2 and x<y"),
        ("[ref]: http://x/y\nkept", "\nkept"),
        (".. image:: http://x/y.png\n   :alt: badge\n\nkept", "\n\nkept"),
        ("`NumPy <https://numpy.org>`_ is", "NumPy is"),
        (".. _target: http://x\nkept", "\nkept"),
        ("```\n[x](y) <b>\n```\n", "```\n[x](y) <b>\n```\n"),
        ("![one](a_(b).png) ![two][ref] [an [inner](http://x) one", "  [an inner one"),
        ("a <!-- hidden\n --> b <!-- open", "a  b <!-- open"),
        ("`two  words  \n<http://x>`__ and `code` <b>", "two  words and `code` "),
        ("```py\n[x](y)\n", "```py\nx\n"),
        ("[a](b)\n```\n<b>\n```  \n[c](d)", "a\n```\n<b>\n```  \nc"),
        ("array[0](1) stays a call? arr", "array0 stays a call? arr"),
    ],
)
def test_markup(raw: str, expected: str) -> None:
    assert readable(raw) == expected


@pytest.mark.parametrize(
    "unit",
    [
        "![", "![](",
        "![][", "![a](x(b)", "[", "[](", "[a](b", "[[]()", "[](()", "<!--", "--><!--",
        "<a ", "<", "` ", "`a <b", "` <", ".. |", "|a", "| ", "```x\n", "```\n ", "[a]: ",
        " \n", "(",
    ],
)  # fmt: skip
def test_hostile_markup_takes_linear_time(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    for raw in (text, "`" + text, "[" + text, ".. " + text, "-->" + text):
        start = time.process_time()
        readable(raw)
        assert time.process_time() - start < 3
