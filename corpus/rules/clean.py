"""Rules that edit: lines that go before the document is judged."""

from collections import Counter
from typing import NamedTuple

from corpus.rules import c4, dclm
from corpus.rules.config import Profile, RulesConfig
from corpus.rules.statistics import Statistics
from corpus.rules.verdict import Rejection


class Cleaned(NamedTuple):
    """A text without the lines that the rules drop."""

    text: str
    dropped: dict[str, int]
    """``RULE.REASON`` -> lines dropped."""
    rejection: tuple[str, Rejection] | None
    """(rule, why) where so much went that the document should go."""


def clean(source: str, text: str, language: str, config: RulesConfig) -> Cleaned:
    """Apply the profile's line rules. The text comes back as it is where none is on."""
    profile = config.profile(language)
    dropped: dict[str, int] = {}
    rejection = None
    if source in config.code.sources:
        return Cleaned(text, dropped, None)
    if profile.c4.enabled and profile.c4.line_rules:
        counts: Counter[str] = Counter()
        text = c4.clean(text, profile.c4, counts)
        dropped |= {f"c4.{reason}": lines for reason, lines in counts.items()}
    if profile.dclm.enabled:
        counts = Counter()
        before = text
        text = dclm.clean(text, profile.dclm, counts, profile.unit)
        dropped |= {f"dclm.{reason}": lines for reason, lines in counts.items()}
        removed = removed_share(_size(before, profile), _size(text, profile)) if counts else 0.0
        if removed > profile.dclm.max_removed_words:
            rejection = "dclm", Rejection("too_much_removed", removed)
    return Cleaned(text, dropped, rejection)


def removed_share(before: int, after: int) -> float:
    """Share of words that went; 1 where there were none."""
    return (before - after) / before if before else 1.0


def _size(text: str, profile: Profile) -> int:
    """Words without punctuation."""
    return len(Statistics(text, profile.unit).token_runs[0])
