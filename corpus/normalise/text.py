"""One spelling for text: NFC, no control characters, one width, tidy white space.

Most text needs little, so each step is asked for by a test that costs next to nothing.
"""

import re
import unicodedata

from corpus.normalise.characters import SPECIAL, replacement, wide_punctuation
from corpus.normalise.mojibake import mended
from corpus.normalise.needs import GARBLED, REPLACE, needs

_CONTROLS = bytes([*range(9), *range(0x0E, 0x20), 0x7F])
_BLANK_LINES = re.compile(r"\n{3,}")
_MAX_ROUNDS = 8
WIDE = ("zh", "ja", "ko", "yue")
"""Languages in which full-width punctuation is at home."""


def normalise(text: str, language: str | None = None) -> str:
    """Text in normal form; indentation inside lines is kept. Idempotent.

    Args:
        text: any text; unpaired surrogates in it are dropped.
        language: ISO 639 code, where it is known. Full-width punctuation becomes half-width
            in languages other than Chinese, Japanese and Korean, and stays where it is None.
    """
    if text.isascii():
        return _tidied(_plain(text))
    narrow = language is not None and language.split("-")[0] not in WIDE
    asked = needs(text)
    for _ in range(_MAX_ROUNDS):  # what is mended or taken out may show more to mend
        before = text
        text = _once(text, asked, narrow)
        if text == before or not asked & (GARBLED | REPLACE) or text.isascii():
            break
        asked = needs(text)
        if not asked & GARBLED:
            break
    return text


def _plain(text: str) -> str:
    """ASCII without controls, with plain line ends."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x0b" in text or "\x0c" in text:
        text = text.replace("\x0b", "\n").replace("\x0c", "\n")
    raw = text.encode("ascii")
    clean = raw.translate(None, _CONTROLS)  # bytes: ten times as fast as a pattern
    return text if len(clean) == len(raw) else clean.decode("ascii")


def _once(text: str, asked: int, narrow: bool) -> str:
    if asked & GARBLED:
        text = mended(text)
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if asked & (REPLACE | GARBLED):
        text = SPECIAL.sub(replacement, text)
    if narrow:
        text = wide_punctuation(text)
    if asked and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return _tidied(text)


def _tidied(text: str) -> str:
    """No space at line ends, at most one blank line, nothing around the text."""
    if " \n" in text or "\t\n" in text:
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return text.strip()
