"""Text that was decoded in the wrong charset (``cafÃ©``), mended by ftfy."""

import re

_LEADS = "\u00c2-\u00f4"
_CONTINUATIONS = (
    "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013\u2014"
    "\u2018-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122"
)
LEAD = re.compile(f"[{_LEADS}]")
"""The first byte of a UTF-8 sequence, read as Latin-1."""
CONTINUATION = re.compile(f"[{_CONTINUATIONS}]")
"""A later byte of it, read as Latin-1 or Windows-1252."""
_MARK = re.compile(f"[{_LEADS}][{_CONTINUATIONS}]")
MAX_LINE_CHARS = 20_000
"""Longer lines are left as they are: ftfy takes tens of microseconds per kilobyte."""


def mended(text: str) -> str:
    """The text with its garbled lines decoded again, where ftfy is sure of it.

    Ordinary text has pairs that look garbled too, if rarely; ftfy leaves it alone.
    """
    return "".join(map(_mended_line, text.splitlines(keepends=True)))


def _mended_line(line: str) -> str:
    if len(line) > MAX_LINE_CHARS or not _MARK.search(line):
        return line
    from ftfy import fix_encoding

    return fix_encoding(line)
