"""Characters that normal text does not hold, and what stands for them."""

import re
import unicodedata

_LINE_ENDS = "\r\x0b\x0c\x85\u2028\u2029"
_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
# Controls but tab and newline, soft hyphen, zero-width space, byte order mark, unpaired
# surrogates, noncharacters. Joiners stay: scripts and emoji need them.
_UNWANTED = (
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff\ud800-\udfff\ufdd0-\ufdef"
    "\ufffe\uffff"
)
_WIDE_LETTERS = "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a"
_NARROW_KANA = "\uff65-\uff9f"
_WIDE_TO_NARROW = 0xFEE0
"""Distance of the full-width forms from ASCII (Unicode block Halfwidth and Fullwidth Forms)."""

SPECIAL = re.compile(
    f"[{_LINE_ENDS}]|[{_SPACES}]|[{_UNWANTED}]+|[{_WIDE_LETTERS}]+|[{_NARROW_KANA}]+"
)
"""What :func:`replacement` replaces; none of it is ASCII but line ends and controls."""
_WIDE_PUNCTUATION = re.compile("[\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff5e]")
_LINE_END_SET = frozenset(_LINE_ENDS)
_SPACE = re.compile(f"[{_SPACES}]")


def replacement(found: re.Match[str]) -> str:
    """The normal form of a match of ``SPECIAL``."""
    run = found.group()
    first = run[0]
    if first in _LINE_END_SET:
        return "\n"
    if _SPACE.match(first):
        return " "
    if "\uff10" <= first <= "\uff5a":
        return "".join(chr(ord(c) - _WIDE_TO_NARROW) for c in run)
    if "\uff65" <= first <= "\uff9f":
        return unicodedata.normalize("NFKC", run)  # voicing marks join their letters
    return ""


def wide_punctuation(text: str) -> str:
    """The text with full-width punctuation as ASCII."""
    return _WIDE_PUNCTUATION.sub(lambda found: chr(ord(found.group()) - _WIDE_TO_NARROW), text)
