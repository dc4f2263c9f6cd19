"""Makes Markdown and reStructuredText readable: link targets, badges and tags go."""

import re

_FENCE = re.compile(r"^```", re.MULTILINE)
_FENCE_END = re.compile(r"^```[ \t]*$", re.MULTILINE)
_TARGET = r"\((?:[^()\n]++|\([^()\n]*+\))*+\)"
"""``(...)`` of a link, in which parentheses may be one deep."""
_RULES = [
    # Every rule takes time linear in the text, whatever the text: no scan from one start runs
    # over the next start, so labels hold no ``[`` and labels of rst's links no backtick.
    # Markdown: images (also inside links), links, reference definitions
    (re.compile(rf"!\[[^\[\]\n]*+\]({_TARGET}|\[[^\[\]\n]*+\])"), ""),
    (re.compile(rf"\[([^\[\]\n]*+)\]{_TARGET}"), r"\1"),
    (re.compile(r"^ {0,3}\[[^\]\n]+\]:[ \t]*\S+.*$", re.MULTILINE), ""),
    # HTML tags in either
    (re.compile(r"</?[a-zA-Z][a-zA-Z0-9]*(\s[^<>]*)?/?>"), ""),
    # reStructuredText: images and their options, targets, substitutions, links
    (
        re.compile(
            r"^[ \t]*\.\.[ \t]+(\|[^|\n]+\|[ \t]+)?(image|figure)::.*(\n[ \t]+:.*)*", re.MULTILINE
        ),
        "",
    ),
    (re.compile(r"^[ \t]*\.\.[ \t]+_[^:\n]+:.*$", re.MULTILINE), ""),
    (re.compile(r"^(\|[\w .\-]+\|_{0,2}[ \t]*)+$", re.MULTILINE), ""),
    (re.compile(r"`([^`<\n]*[^`<\s])\s*+<[^>`\n]++>`_{1,2}"), r"\1"),
]


def readable(text: str) -> str:
    """The text without badges, link targets, reference definitions and HTML tags.

    Fenced code is left as it is.
    """
    parts = []
    at = 0
    while (fence := _FENCE.search(text, at)) and (end := _FENCE_END.search(text, fence.end())):
        parts += [_strip(text[at : fence.start()]), text[fence.start() : end.end()]]
        at = end.end()
    return "".join([*parts, _strip(text[at:])])


def _strip(text: str) -> str:
    text = _without_comments(text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def _without_comments(text: str) -> str:
    """Without ``<!-- ... -->``; one that does not end is text."""
    parts = []
    at = 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        parts.append(text[at:start])
        at = end + 3
    return "".join([*parts, text[at:]])
