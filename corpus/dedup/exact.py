"""Content identity: two texts that differ only in case, punctuation or white space agree."""

import re

from blake3 import blake3

_WORD = re.compile(r"\w+")
CONTENT_BYTES = 16


def words_of(text: str) -> list[str]:
    """The words that dedup looks at: lower case, without punctuation.

    A text without any word counts as one word, so it still has an identity.
    """
    return _WORD.findall(text.lower()) or [text.strip()]


def content_hash(words: list[str]) -> bytes:
    """128-bit blake3 of the words."""
    return blake3("\n".join(words).encode("utf-8", "surrogatepass")).digest(CONTENT_BYTES)
