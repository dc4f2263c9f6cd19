r"""How text is cut into pieces before merging: no token ever spans two pieces.

Patterns are Oniguruma's (``tokenizers`` runs it); ``&&`` intersects character classes.

* ``gpt2``: Radford et al. 2019: words and signs with one leading space.
* ``gpt4``: the shape OpenAI's tiktoken publishes for GPT-4: contractions in any case, a word
  takes one leading sign, line breaks end pieces.
* ``multilingual``: ``gpt4``, with two changes. Runs of Chinese characters and kana are pieces
  of their own, so that a merge never glues them to Latin letters, to a space or to the sign
  before them (Chinese puts no space between a word and what it stands beside). Combining
  marks belong to their word, so that Devanagari or Thai are not cut inside a syllable.

Digits are taken in runs of at most ``digits``: with 1 every number has one spelling.
"""

from typing import Literal

Pattern = Literal["multilingual", "gpt4", "gpt2"]

_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}\u30FC"
_CONTRACTION = r"'(?i:[sdmt]|ll|ve|re)"
_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def pieces(pattern: Pattern, digits: int) -> str:
    """The regular expression whose matches are the pieces.

    Args:
        pattern: one of the above.
        digits: longest run of digits that is one piece.
    """
    number = rf"\p{{N}}{{1,{digits}}}" if digits > 1 else r"\p{N}"
    signs = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
    if pattern == "gpt2":
        return rf"'(?:[sdmt]|ll|ve|re)| ?\p{{L}}+|{number}| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+"
    if pattern == "gpt4":
        return rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{number}|{signs}|{_SPACE}"
    letters = rf"[\p{{L}}\p{{M}}&&[^{_CJK}]]+"
    return (
        rf"{_CONTRACTION}|[{_CJK}]+|[^\r\n\p{{L}}\p{{M}}\p{{N}}]?{letters}|{number}"
        rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACE}"
    )
