"""Makes Markdown and reStructuredText readable: link targets, badges and tags go."""

import re

_RULES = [
    # Markdown: comments, images (also inside links), links, reference definitions
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"!\[[^\]\n]*\](\([^)\n]*\)|\[[^\]\n]*\])"), ""),
    (re.compile(r"\[([^\]\n]*)\]\((?:[^()\n]|\([^()\n]*\))*\)"), r"\1"),
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
    (re.compile(r"`([^`<\n]+?)\s*<[^>`\n]+>`_{1,2}"), r"\1"),
]


def readable(text: str) -> str:
    """The text without badges, link targets, reference definitions and HTML tags.

    Fenced code is left as it is.
    """
    parts = re.split(r"(^```.*?^```[ \t]*$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else _strip(part) for i, part in enumerate(parts))


def _strip(text: str) -> str:
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
