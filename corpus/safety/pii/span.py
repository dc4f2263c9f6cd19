"""Where something was found."""

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
        if all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
    return sorted(kept)
