"""A document as a classifier reads it."""

import re

LINE_END = "<nl>"
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Kana and Han: scripts written without spaces, whose characters are the classifier's words."""
_CJK_CHARACTER = re.compile(f"([{CJK}])")


def classifier_text(text: str, max_chars: int) -> str:
    """The start of a text on one line: lower case, line ends as a word of their own.

    fastText cuts words at spaces, so Han and kana are set apart, one character a word: its
    word n-grams are then character n-grams.
    """
    head = text[:max_chars].lower().replace("\x00", " ")
    if not head.isascii():
        head = _CJK_CHARACTER.sub(r" \1 ", head)
    lines = head.split("\n")
    return f" {LINE_END} ".join(" ".join(line.split()) for line in lines if line.strip())
