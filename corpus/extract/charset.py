"""Bytes of a page to text: byte order mark, HTTP header, meta tag, detection, in this order.

The order is that of the HTML standard (section "determining the character encoding"), with one
practical exception: bytes that are valid UTF-8 beyond ASCII are UTF-8, whatever is declared.
"""

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(rb"<meta[^>]{0,300}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]{2,40})", re.IGNORECASE)
META_BYTES = 4096
"""A meta tag is looked for in this many bytes; the standard asks for 1,024, pages need more."""
MAX_WRONG_SHARE = 0.01
"""A declared charset is given up where more of the text than this would be undecodable."""


def decode(page: bytes, header: str | None = None) -> str:
    """The page as text; what cannot be decoded becomes U+FFFD.

    Args:
        page: the bytes after transfer and content decoding.
        header: the HTTP header's charset, where there was one.
    """
    for mark, name in _MARKS:
        if page.startswith(mark):
            return page[len(mark) :].decode(name, "replace")
    if page.isascii() and b"\x1b" not in page:  # ISO-2022 is ASCII with escapes
        return page.decode("ascii")
    try:
        return page.decode("utf-8")
    except UnicodeDecodeError:
        pass
    for label in (header, _declared(page)):
        text = _tolerant(page, label) if label else None
        if text is not None:
            return text
    return _detected(page)


def _declared(page: bytes) -> str | None:
    """The charset that a meta tag or an XML declaration names."""
    head = page[:META_BYTES]
    found = _XML.search(head) or _META.search(head)
    return found.group(1).decode("ascii") if found else None


def _tolerant(page: bytes, name: str) -> str | None:
    """Text in a declared charset, or None where the name or the bytes are wrong."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    mapped = map_encoding_to_html5(name.strip().strip("\"'"), fallback_utf8=False)
    if mapped is None:
        return None
    try:
        text = page.decode(mapped, "replace")
    except (LookupError, ValueError):
        return None
    return text if text.count("\ufffd") <= MAX_WRONG_SHARE * len(text) else None


def _detected(page: bytes) -> str:
    from resiliparse.parse.encoding import detect_encoding

    try:
        return page.decode(detect_encoding(page) or "utf-8", "replace")
    except (LookupError, ValueError):
        return page.decode("utf-8", "replace")
