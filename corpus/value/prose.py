"""Tells sentence-like lines from debris: headings, menus, tables, parameter lists."""

import numpy as np

from corpus.value.layout import Layout, layout

MIN_WORDS = 5
MIN_PLAIN = 0.75


def prose_lines(cut: Layout) -> np.ndarray:
    """True for lines of at least five words, three quarters of them plain; shape (lines,)."""
    return (cut.line_words >= MIN_WORDS) & (cut.line_plain >= MIN_PLAIN * cut.line_words)


def prose_share(text: str) -> float:
    """Share of a text's words that stand in sentence-like lines."""
    cut = layout(text)
    inside = int(cut.line_words[prose_lines(cut)].sum())
    return inside / cut.words if cut.words else 0.0


def debris_lines(text: str) -> list[str]:
    """The lines that are neither sentence-like nor blank."""
    cut = layout(text)
    wanted = np.flatnonzero(~prose_lines(cut) & (cut.line_words > 0))
    starts, ends = cut.line_starts[wanted].tolist(), cut.line_ends[wanted].tolist()
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]
