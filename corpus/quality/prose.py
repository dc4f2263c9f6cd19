"""Tells sentence-like lines from debris: headings, menus, tables, parameter lists."""

_MIN_WORDS = 5
_MIN_ALPHABETIC = 0.75
_PUNCTUATION = ".,;:!?\"'()`*_"


def is_prose_line(line: str) -> bool:
    """True for a line of at least five words, three quarters of them plain words."""
    words = line.split()
    if len(words) < _MIN_WORDS:
        return False
    return sum(w.strip(_PUNCTUATION).isalpha() for w in words) >= _MIN_ALPHABETIC * len(words)


def prose_share(text: str) -> float:
    """Share of a text's words that stand in sentence-like lines."""
    inside = 0
    total = 0
    for line in text.splitlines():
        words = len(line.split())
        total += words
        if is_prose_line(line):
            inside += words
    return inside / total if total else 0.0


def debris_lines(text: str) -> list[str]:
    """The lines that are not sentence-like."""
    return [line for line in text.splitlines() if line.strip() and not is_prose_line(line)]
