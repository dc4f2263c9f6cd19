"""The element that holds a page's main text."""

from corpus.extract.blocks import Node, Walk

MIN_SHARE = 0.8
"""Share of the page's prose that the container holds."""
MAX_GROWTH = 1.25
"""It gives way to a named element around it that holds at most this much more."""


def container(walk: Walk) -> Node:
    """The deepest element that holds most of the prose, or a named one just around it.

    Marks the nodes in it (``in_best``).
    """
    best = walk.top
    if walk.top.good:
        need = MIN_SHARE * walk.top.good
        for node in walk.nodes:
            if node.good >= need and node.depth >= best.depth:
                best = node
    around: Node | None = best
    while around is not None:
        named = around.kind > 0 or around.semantic
        if named and around.good <= MAX_GROWTH * best.good:
            best = around
        around = around.parent
    for node in walk.nodes:
        node.in_best = node is best or bool(node.parent and node.parent.in_best)
    return best
