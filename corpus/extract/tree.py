"""Text of a page to an lxml tree that both extractors read."""

from functools import lru_cache
from typing import Any

_CONTROLS = bytes([*range(9), 0x0B, *range(0x0E, 0x20), 0x7F])


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

    data = page.encode("utf-8", "replace").translate(None, _CONTROLS)
    try:
        return etree.fromstring(data, _parser())
    except (etree.ParserError, etree.XMLSyntaxError):
        return None
