"""Title, date, language and licence that a page states of itself."""

import re
from collections.abc import Iterator
from typing import Any

_DATE = re.compile(r"\b((?:19|20)\d\d)[-/.](0[1-9]|1[0-2])[-/.](0[1-9]|[12]\d|3[01])(?!\d)")
_JSON_DATE = re.compile(r'"datePublished"\s*:\s*"([^"]{8,40})"')
_DATE_NAMES = (
    "article:published_time",
    "og:published_time",
    "datepublished",
    "date",
    "dc.date",
    "dcterms.created",
    "citation_publication_date",
    "parsely-pub-date",
    "sailthru.date",
    "pubdate",
)
_TITLE_NAMES = ("og:title", "twitter:title", "dc.title", "citation_title")
_LANGUAGE = re.compile(r"^\s*([a-zA-Z]{2,3})(?:[-_][\w-]*)?\s*$")
_CREATIVE = re.compile(
    r"creativecommons\.org/(?:licenses/([a-z]+(?:-[a-z]+)*)/(\d\.\d)|publicdomain/(zero|mark)/(\d\.\d))",
    re.IGNORECASE,
)
_LICENCE_NAMES = ("dc.rights", "dcterms.license", "dcterms.rights", "license")
_PUBLIC_DOMAIN = {"zero": "CC0", "mark": "PDM"}
MAX_CHARS = 500
"""A longer title or licence is cut."""


def title_of(root: Any) -> str | None:
    """The page's title: what it gives to others to show, else its heading, else ``title``."""
    named = _meta(root, _TITLE_NAMES)
    if named:
        return named
    headings = [_text(element) for element in root.iter("h1")]
    headings = [heading for heading in headings if heading]
    if len(headings) == 1:
        return headings[0]
    return next((t for t in map(_text, root.iter("title")) if t), None)


def date_of(root: Any) -> str | None:
    """Day of publication as ``YYYY-MM-DD``, where the page states one that can be read."""
    for stated in _stated_dates(root):
        found = _DATE.search(stated[:100])
        if found:
            return "-".join(found.groups())
    return None


def _stated_dates(root: Any) -> Iterator[str]:
    yield from _metas(root, _DATE_NAMES)
    for script in root.iter("script"):
        if script.text and (script.get("type") or "").lower() == "application/ld+json":
            yield from (found.group(1) for found in _JSON_DATE.finditer(script.text))
    for element in root.iterfind(".//*[@itemprop='datePublished']"):
        yield element.get("content") or element.get("datetime") or _text(element)
    yield from (element.get("datetime") or "" for element in root.iter("time"))


def language_of(root: Any) -> str | None:
    """ISO 639 code in small letters that the page declares, without its region."""
    stated = [root.get("lang"), root.get("{http://www.w3.org/XML/1998/namespace}lang")]
    stated += [root.get("xml:lang"), _meta(root, ("content-language", "og:locale", "language"))]
    for value in stated:
        found = _LANGUAGE.match(value[:40]) if value else None
        if found:
            return found.group(1).lower()
    return None


def licence_of(root: Any) -> str | None:
    """The licence a page points to: an SPDX name for Creative Commons, else what it states.

    A hint, not a permission: a page may carry the licence of one picture in it.
    """
    stated = [e.get("href") or "" for e in root.iter("a", "link") if "license" in _relation(e)]
    stated += _metas(root, _LICENCE_NAMES)
    stated += [
        e.get("href") for e in root.iter("a", "link") if "creativecommons.org" in e.get("href", "")
    ]
    for value in stated:
        found = _CREATIVE.search(value[:MAX_CHARS])
        if found:
            return _spdx(found)
    return next((value.strip()[:MAX_CHARS] for value in stated if value.strip()), None)


def _spdx(found: re.Match[str]) -> str:
    kind, version, public, public_version = found.groups()
    if public:
        return f"{_PUBLIC_DOMAIN[public.lower()]}-{public_version}"
    return f"CC-{kind.upper()}-{version}"


def _relation(element: Any) -> list[str]:
    return (element.get("rel") or "").lower().split()


def _meta(root: Any, names: tuple[str, ...]) -> str | None:
    return next(iter(_metas(root, names)), None)


def _metas(root: Any, names: tuple[str, ...]) -> list[str]:
    """Contents of the meta tags of these names, in the names' order."""
    found: dict[str, str] = {}
    for element in root.iter("meta"):
        name = element.get("property") or element.get("name") or element.get("http-equiv") or ""
        content = " ".join((element.get("content") or "")[:MAX_CHARS].split())
        if content:
            found.setdefault(name.strip().lower(), content)
    return [found[name] for name in names if name in found]


def _text(element: Any) -> str:
    return " ".join("".join(element.itertext()).split())[:MAX_CHARS]
