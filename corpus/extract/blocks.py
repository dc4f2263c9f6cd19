"""One walk over a page's tree: its blocks of text, and the elements that hold them."""

import re
from dataclasses import dataclass
from typing import Any

from corpus.extract.names import (
    CLUTTER,
    CLUTTER_ROLES,
    CLUTTER_TAGS,
    HEADINGS,
    INLINE,
    LEAVES,
    MAIN,
    SKIPPED,
    judge,
)

MAX_DEPTH = 150
"""Elements below this depth are read as one piece of text."""
MIN_GOOD_CHARS = 60
"""Length from which a block looks like prose; a character of Chinese counts three times."""
MAX_GOOD_LINKS = 0.4
"""Share of link text up to which a block looks like prose."""
MAX_CLUTTER_SHARE = 0.3
"""An element that holds more of the page's prose than this is no clutter, whatever its name."""
_DENSE = re.compile("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")


class Node:
    """An element that may be a container of text."""

    __slots__ = (
        "bad",
        "depth",
        "element",
        "good",
        "in_best",
        "kind",
        "links",
        "main_names",
        "other_names",
        "own",
        "parent",
        "prose",
        "semantic",
        "total",
    )

    def __init__(
        self, element: Any, parent: "Node | None", kind: int, depth: int, semantic: bool
    ) -> None:
        self.element = element
        self.parent = parent
        self.kind = kind
        self.depth = depth
        self.semantic = semantic
        """It, or an element around it, is an ``article`` or ``main``."""
        self.own = [0, 0, 0]
        """Prose, text and link characters of its own blocks."""
        self.prose = self.good = self.total = self.links = 0
        """Characters in it: prose, prose outside clutter, all text, links."""
        self.bad = self.in_best = False
        self.main_names = self.other_names = 0
        """How many elements around it, itself included, have names of main text or clutter."""


@dataclass(slots=True)
class Block:
    """A paragraph, heading, list item, table cell or piece of code."""

    text: str
    tag: str
    node: Node
    link_chars: int
    good: int
    """Its length where it looks like prose, or 0."""
    row: int
    """Number of the table row it stands in, or -1."""
    depth: int
    """Number of lists around it."""


class Walk:
    """Blocks and nodes of a page, in document order."""

    def __init__(self, root: Any) -> None:
        body = root.find("body") if root.tag == "html" else None
        body = root if body is None else body
        self.top = Node(body, None, 0, 0, False)
        self.nodes = [self.top]
        self.blocks: list[Block] = []
        self._buffer: list[str] = []
        self._links = 0
        self._rows = 0
        self._visit(body, self.top, "div", False, 0, -1, 0)
        self._flush(self.top, "div", -1, 0)
        self._sum_up()

    def _flush(self, node: Node, tag: str, row: int, lists: int) -> None:
        """End a block: what was gathered since the last one."""
        if not self._buffer:
            return
        text = " ".join("".join(self._buffer).split())
        links, self._links = self._links, 0
        self._buffer.clear()
        if text:
            self._add(text, tag, node, links, row, lists)

    def _add(self, text: str, tag: str, node: Node, links: int, row: int, lists: int) -> None:
        size = len(text)
        links = min(links, size)
        good = 0
        if links < MAX_GOOD_LINKS * size and tag not in HEADINGS:
            long_enough = size >= MIN_GOOD_CHARS or size * 3 >= MIN_GOOD_CHARS
            if long_enough and (size >= MIN_GOOD_CHARS or _DENSE.search(text)):
                good = size
        own = node.own
        own[0] += good
        own[1] += size
        own[2] += links
        self.blocks.append(Block(text, tag, node, links, good, row, lists))

    def _visit(
        self, element: Any, node: Node, tag: str, linked: bool, depth: int, row: int, lists: int
    ) -> None:
        buffer = self._buffer
        if element.text:
            buffer.append(element.text)
            if linked:
                self._links += len(element.text.strip())
        for child in element:
            name = child.tag
            if name.__class__ is not str or name in SKIPPED:
                pass
            elif name == "br":
                if child.tail:
                    self._flush(node, tag, row, lists)
                else:
                    buffer.append("\n")
            elif depth > MAX_DEPTH:
                buffer.append(" ".join(child.itertext()))
            elif name in INLINE:
                if len(child) or child.text:
                    link = linked or name == "a"
                    self._visit(child, node, tag, link, depth + 1, row, lists)
            else:
                self._flush(node, tag, row, lists)
                self._block(child, name, node, linked, depth, row, lists)
            if child.tail:
                buffer.append(child.tail)
                if linked:
                    self._links += len(child.tail.strip())

    def _block(
        self, child: Any, name: str, node: Node, linked: bool, depth: int, row: int, lists: int
    ) -> None:
        """An element that begins and ends a block."""
        get = child.get
        role = get("role")
        style = get("style")
        if role in CLUTTER_ROLES or get("aria-hidden") == "true":
            return
        if style and "none" in style and "display" in style:
            return
        first, second = get("class"), get("id")
        kind = judge(first or "", second or "") if first or second else 0
        if name in CLUTTER_TAGS:
            kind = CLUTTER
        body = get("itemprop") == "articleBody"
        if body:
            kind = MAIN
        if kind or name not in LEAVES:
            semantic = node.semantic or body or name in ("article", "main") or role == "main"
            node = Node(child, node, kind, node.depth + 1, semantic)
            self.nodes.append(node)
        if name == "pre":
            self._code(child, node, row, lists)
            return
        if name == "tr":
            self._rows += 1
            row = self._rows
        elif name in ("ul", "ol"):
            lists += 1
        elif name == "table":
            row = -1
        self._visit(child, node, name, linked, depth + 1, row, lists)
        self._flush(node, name, row, lists)

    def _code(self, element: Any, node: Node, row: int, lists: int) -> None:
        """Preformatted text keeps its lines."""
        for line_break in element.iter("br"):
            line_break.text = "\n"
        text = "".join(element.itertext())
        for line_break in element.iter("br"):
            line_break.text = None
        text = "\n".join(line.rstrip() for line in text.expandtabs(4).splitlines()).strip("\n")
        if text.strip():
            self._add(text, "pre", node, 0, row, lists)

    def _sum_up(self) -> None:
        """Sums of each element, and which are clutter."""
        for node in self.nodes:
            node.prose, node.total, node.links = node.own
        for node in reversed(self.nodes):  # children come after their parents
            if node.parent is not None:
                node.parent.prose += node.prose
                node.parent.total += node.total
                node.parent.links += node.links
        limit = MAX_CLUTTER_SHARE * self.top.prose
        for node in self.nodes:
            parent = node.parent
            node.bad = bool(parent and parent.bad) or (node.kind < 0 and node.prose < limit)
            node.good = 0 if node.bad else node.own[0]
            node.main_names = (node.kind > 0) + (parent.main_names if parent else 0)
            node.other_names = (node.kind < 0) + (parent.other_names if parent else 0)
        for node in reversed(self.nodes):
            if node.parent is not None:
                node.parent.good += node.good
