"""Text of a page to an lxml tree that both extractors read."""

import re
from functools import lru_cache
from typing import Any

_NO_XML = re.compile("[\x00-\x08\x0b\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


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

    try:
        return etree.fromstring(_NO_XML.sub("", page).encode("utf-8"), _parser())
    except (etree.ParserError, etree.XMLSyntaxError):
        return None
