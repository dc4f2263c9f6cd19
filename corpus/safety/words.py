"""Counts the words of a list in a text, all at once, by an Aho-Corasick automaton."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from contracts.ngrams import find_words


class WordList:
    """Entries are compared in lower case.

    An entry must stand alone: no letter or digit of a spaced script may touch it, unless the
    touching side of the entry itself is a character of a script written without spaces.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self._entries = sorted({entry.lower() for entry in entries})

    @cached_property
    def _automaton(self) -> Any:
        from ahocorasick_rs import AhoCorasick, MatchKind

        return AhoCorasick(self._entries, matchkind=MatchKind.LeftmostLongest)

    def hits(self, text: str) -> list[str]:
        """The entries found, in text order, longest first where they overlap."""
        lower = text.lower()
        found = self._automaton.find_matches_as_indexes(lower)
        return [
            self._entries[entry] for entry, start, end in found if stands_alone(lower, start, end)
        ]


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether no word goes on over either end of ``text[start:end]``."""
    return not (
        (start > 0 and _spaced(text[start - 1]) and _spaced(text[start]))
        or (end < len(text) and _spaced(text[end]) and _spaced(text[end - 1]))
    )


def hit_share(hits: Sequence[str], text: str) -> float:
    """Share of the text's words (characters, in scripts without spaces) inside hits."""
    if not hits:
        return 0.0
    inside = sum(len(find_words(hit).starts) for hit in hits)
    return inside / max(len(find_words(text).starts), 1)


def _spaced(char: str) -> bool:
    return char.isalnum() and (char < "\u0e00" or not _unspaced(ord(char)))


def _unspaced(code: int) -> bool:
    blocks = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x30FF))
    wide = ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
    return any(first <= code <= last for first, last in blocks + wide)
