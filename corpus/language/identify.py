"""Language identification by CLD2, whose tables are inside the package pycld2.

CLD2 (Sites 2013) is a naive Bayes classifier over quadgrams. It reads a text in
chunks of about twenty words and says how much of it is in which of up to three languages:
mixed documents show as such.
"""

import re
from dataclasses import dataclass
from typing import Any

from corpus.language.codes import UNKNOWN, iso_code
from corpus.language.config import LanguageConfig

UNRELIABLE = 0.5
"""Scores are multiplied by this where CLD2 does not call its own answer reliable."""
# CLD2 refuses what Unicode says is not for interchange.
_REFUSED = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)


@dataclass(frozen=True)
class Identified:
    """What is known of a text's language."""

    lang: str
    """ISO 639 code of the language of most of it, ``und`` where none was found."""
    score: float
    """Share of the text that is in it, 0 to 1, halved where the answer is unreliable."""
    shares: dict[str, float]
    """Share of each language (at most three) in the text whose language was found."""


_NOTHING = Identified(UNKNOWN, 0.0, {})


def identify(text: str, config: LanguageConfig) -> Identified:
    """The languages of a text; reads at most ``windows * window_chars`` characters."""
    return _identified(windows(text, config.windows, config.window_chars))


def windows(text: str, count: int, size: int) -> str:
    """The text, or where it is longer than this ``count`` pieces of it, one per line."""
    if len(text) <= count * size:
        return text
    if count == 1:
        return text[:size]
    starts = [i * (len(text) - size) // (count - 1) for i in range(count)]
    return "\n".join(text[start : start + size] for start in starts)


def _identified(text: str) -> Identified:
    reliable, _, details = _detect(text)
    shares: dict[str, float] = {}
    for _, code, percent, _ in details:
        language = iso_code(code)
        if percent and language != UNKNOWN:
            shares[language] = shares.get(language, 0.0) + percent / 100
    if not shares:
        return _NOTHING
    best = max(shares, key=lambda language: shares[language])
    score = min(1.0, shares[best]) * (1.0 if reliable else UNRELIABLE)
    known = sum(shares.values())
    return Identified(best, score, {language: part / known for language, part in shares.items()})


def _detect(text: str) -> Any:
    import pycld2

    try:
        return pycld2.detect(text, True, bestEffort=True)
    except (pycld2.error, UnicodeEncodeError):
        pass
    try:
        return pycld2.detect(_REFUSED.sub(" ", text), True, bestEffort=True)
    except pycld2.error:  # it has found more to refuse: no language then, and no crash
        return False, 0, ()


def refusal(found: Identified, config: LanguageConfig) -> str | None:
    """Why a text of these languages is not kept, or None.

    ``other_language``, ``uncertain_language`` (below the language's lowest score) or
    ``mixed_languages``. Mixed is asked first: half of another language lowers the score too.
    """
    if config.keep and found.lang not in config.keep:
        return "other_language"
    if found.shares and found.shares[found.lang] < config.min_share:
        return "mixed_languages"
    if config.keep and found.score < config.keep[found.lang]:
        return "uncertain_language"
    return None
