"""A document as a classifier reads it."""

import re

LINE_END = "<nl>"
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Kana and Han: scripts written without spaces, whose characters are the classifier's words."""
_APART = re.compile(f"([{CJK}]|[^\\w\\s])")
_DIGIT = re.compile(r"\d")


def classifier_text(text: str, max_chars: int) -> str:
    """The start of a text on one line: lower case, line ends as a word of their own.

    fastText cuts words at spaces, so punctuation is set apart, and so are Han and kana, one
    character a word: word n-grams are then character n-grams. Digits become 0: which number it
    is tells sources apart, not classes.
    """
    head = text[:max_chars].lower().replace("\x00", " ")
    head = _DIGIT.sub("0", _APART.sub(r" \1 ", head))
    lines = head.split("\n")
    return f" {LINE_END} ".join(" ".join(line.split()) for line in lines if line.strip())
