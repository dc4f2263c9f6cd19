r"""Finds documented functions and classes in a document's text.

An entry is a line ``## module.name(signature)`` and the docstring below it, up to the
next such line; its summary is the docstring's first sentence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

HEADING = re.compile(r"^## ([\w.]+)\((.*)\)$", re.MULTILINE)
_ROLE = re.compile(r":(?:[a-z]+:)+`([^`]*)`")  # :class:`x`, :py:func:`~a.b`
_TARGET = re.compile(r"^!?~?(?:([^<]*\S)\s*<[^>]+>|(.*))$", re.DOTALL)  # `text <target>`
_QUOTED = re.compile(r"`+([^`]+)`+(?:_{1,2})?")
_STRESSED = re.compile(r"(?<![\w*])\*{1,2}(\w[^*]*?)\*{1,2}(?![\w*])")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(\[@:])")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|resp|Eq|Fig|[A-Z]))\.$")
_STARTS_LIKE_TEXT = re.compile(r"[A-Za-z`\"'(]")
_CALL = re.compile(r"^[\w.]+\(")  # a signature repeated as the first line
_MARKUP = re.compile(r"^(?:\.\.|>>>|:\w+|[-=~*#|]{2,}|(?:Args|Arguments|Parameters|Returns)\b:?$)")


@dataclass(frozen=True)
class Entry:
    """A documented function or class."""

    uid: int
    """Of the document."""
    name: str
    """Dotted, e.g. ``numpy.linalg.norm``."""
    signature: str
    """What stands between the parentheses."""
    summary: str
    """First sentence of the docstring, without markup, with a full stop."""


def entries(uid: int, text: str) -> Iterator[Entry]:
    """Every entry of a document whose docstring starts with a sentence."""
    headings = list(HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=False):
        name, signature = heading.groups()
        if "." not in name:
            continue  # a heading of prose, not an entry
        docstring = text[heading.end() : end]
        found = summary(docstring)
        if found:
            yield Entry(uid, name, signature, found)


def summary(docstring: str) -> str:
    """First sentence of a docstring as one clean line; empty where it has none."""
    paragraph = docstring.strip().split("\n\n")[0]
    lines = paragraph.splitlines()
    if not lines or _MARKUP.match(lines[0]) or _CALL.match(lines[0]):
        return ""
    if len(lines) > 1 and _MARKUP.match(lines[1].strip()):
        lines = lines[:1]  # an underlined title
    sentence = _first_sentence(" ".join(" ".join(lines).split()))
    sentence = _plain(sentence).rstrip(" :;,")
    if not sentence or not _STARTS_LIKE_TEXT.match(sentence):
        return ""
    return sentence if sentence[-1] in ".!?" else f"{sentence}."


def _first_sentence(text: str) -> str:
    for end in _SENTENCE_END.finditer(text):
        sentence = text[: end.start()]
        if not _ABBREVIATION.search(sentence):
            return sentence
    return text


def _plain(text: str) -> str:
    """Without reStructuredText and Markdown marks."""
    text = _ROLE.sub(lambda match: _shown(match.group(1)), text)
    text = _QUOTED.sub(lambda match: match.group(1).strip(), text)
    return _STRESSED.sub(r"\1", text)


def _shown(role_text: str) -> str:
    """What a role shows: the text before a target, without a leading ``~``."""
    match = _TARGET.match(role_text)
    return (match.group(1) or match.group(2)) if match else role_text
