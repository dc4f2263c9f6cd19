"""Where something was found."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """``text[start:end]`` is of a type."""

    start: int
    end: int
    type: str


def without_overlaps(spans: Iterable[Span]) -> list[Span]:
    """Spans in text order; where two overlap the one given first stays."""
    kept: list[Span] = []
    for span in spans:
        place = bisect_left(kept, span)
        before_ends = place == 0 or kept[place - 1].end <= span.start
        if before_ends and (place == len(kept) or span.end <= kept[place].start):
            insort(kept, span)
    return kept
