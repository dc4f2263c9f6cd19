"""Tells sentence-like lines from debris: headings, menus, tables, parameter lists."""

_MIN_WORDS = 5
_MIN_ALPHABETIC = 0.75
_PUNCTUATION = ".,;:!?\"'()`*_"


def is_prose_line(line: str) -> bool:
    """True for a line of at least five words, three quarters of them plain words."""
    return _is_prose(line.split())


def _is_prose(words: list[str]) -> bool:
    if len(words) < _MIN_WORDS:
        return False
    plain = [word for word in words if word.strip(_PUNCTUATION).isalpha()]
    return len(plain) >= _MIN_ALPHABETIC * len(words)


def prose_share(text: str) -> float:
    """Share of a text's words that stand in sentence-like lines."""
    inside = 0
    total = 0
    for line in text.splitlines():
        words = line.split()
        total += len(words)
        if _is_prose(words):
            inside += len(words)
    return inside / total if total else 0.0


def debris_lines(text: str) -> list[str]:
    """The lines that are not sentence-like."""
    return [line for line in text.splitlines() if line.strip() and not is_prose_line(line)]
