"""Text of a page to an lxml tree that both extractors read."""

from functools import lru_cache
from typing import Any

_CONTROLS = bytes([*range(9), 0x0B, *range(0x0E, 0x20), 0x7F])

LONG_TAG_CHARS = 20_000
"""Longer tags are looked at: they may hold too many attributes."""
MAX_ATTRIBUTES = 500


@lru_cache(maxsize=1)
def _parser() -> Any:
    from lxml import etree
    from lxml.html import HtmlElement

    parser = etree.HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, collect_ids=False
    )
    # One class for all elements, looked up in C: lxml.html's own lookup is Python per element.
    parser.set_element_class_lookup(etree.ElementDefaultClassLookup(element=HtmlElement))
    return parser


def parse(page: str) -> Any:
    """Root element of the page, or None where there is no element in it.

    Without lxml's ``huge_tree`` its parser bounds depth and sizes; what lies beyond is lost.
    """
    from lxml import etree

    data = _bounded(page).encode("utf-8", "replace").translate(None, _CONTROLS)
    try:
        return etree.fromstring(data, _parser())
    except (etree.ParserError, etree.XMLSyntaxError):
        return None


def _bounded(page: str) -> str:
    """The page without most of the attributes of tags that hold thousands of them.

    The parser compares each attribute with those before it: 200,000 in a tag take hours.
    """
    pieces = page.split(">")
    if max(map(len, pieces)) <= LONG_TAG_CHARS:
        return page
    for i, piece in enumerate(pieces):
        start = piece.rfind("<", 0, -1)
        tag = piece[start + 1 :]
        if len(tag) > LONG_TAG_CHARS and start >= 0 and tag[0].isalpha():
            fields = tag.split(maxsplit=MAX_ATTRIBUTES)
            if len(fields) > MAX_ATTRIBUTES:
                pieces[i] = piece[: start + 1] + " ".join(fields[:-1])
    return ">".join(pieces)
