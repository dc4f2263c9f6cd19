"""What class names, ids and tags say about an element: main text, clutter, or nothing."""

import re
from functools import lru_cache

_SKIPPED = """
    figcaption script style noscript template svg iframe button select option input textarea dialog
    object embed head audio video canvas map area applet menu link meta datalist rp rt
"""
_INLINE = """
    a b i em strong span font code small sub sup u s abbr cite q kbd samp var time mark ins del
    label img br wbr big tt acronym dfn bdi bdo data ruby rb strike nobr
"""
SKIPPED = frozenset(_SKIPPED.split())
"""Tags whose contents are never main text."""
CLUTTER_TAGS = frozenset({"nav", "aside", "footer", "form", "fieldset"})
"""Tags that are clutter unless they hold much of the page's text."""
INLINE = frozenset(_INLINE.split())
"""Tags that do not end a line of text."""
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
LEAVES = frozenset(["p", "li", "td", "th", "tr", "dt", "dd", "tbody", "pre"]) | HEADINGS
"""Tags that make no node of their own unless their name says something."""
CLUTTER_ROLES = frozenset({"navigation", "complementary", "banner", "contentinfo", "dialog"})
MAIN, CLUTTER, NOTHING = 1, -1, 0
MAX_NAME_CHARS = 300

_CLUTTER_WORDS = """
    related relatedposts sharedaddy share sharing shares shariff social socials comment comments
    commentlist respond disqus breadcrumb breadcrumbs sidebar side-?bar widget widgets newsletter
    subscribe subscription promo promotion recommend\\w* teaser teasers cookie cookies consent gdpr
    ad ads advert\\w* adsense banner sponsor\\w* tag tags taglist tagcloud categories post-?meta
    entry-?meta article-?meta byline author authors author-?box author-?bio pagination pager paging
    nav navi navbar navigation navbox menu menus foot footer footnav popup modal overlay lightbox
    outbrain taboola read-?more more toolbar tools utility print printonly hidden hide
    visually-?hidden sr-only screen-reader-text skip search login signup sign-?up rating ratings
    vote follow like trackback pingback copyright disclaimer legal credit credits meta metadata
    topnav masthead top-?bar mw-editsection toc noprint reflist catlinks infobox caption-credit
    slideshow carousel gallery story-links also trending popular latest prev next previous poll
    survey contact shop cart price product-list jp-\\w+
"""
_CLUTTER = re.compile(
    r"(?:^|[\s_-])(?:" + "|".join(_CLUTTER_WORDS.split()) + r")(?:$|[\s_-])", re.IGNORECASE
)
_MAIN = re.compile(
    r"(?:article|entry|post|story|content|news|blog|page|main|text)[_-]*"
    r"(?:body|content|text|copy|main|article|detail)"
    r"|articlebody|entry-?content|^(?:article|content|main|post|body)$"
    r"|mw-parser-output|wysiwyg|richtext|rte",
    re.IGNORECASE,
)


@lru_cache(maxsize=1 << 16)
def judge(classes: str, identifier: str) -> int:
    """``MAIN``, ``CLUTTER`` or ``NOTHING`` for an element's class and id."""
    names = f"{classes} {identifier}".strip()[:MAX_NAME_CHARS]
    if len(names) < 200 and _MAIN.search(names):
        return MAIN
    return CLUTTER if _CLUTTER.search(names) else NOTHING
