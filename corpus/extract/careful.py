"""The careful extractor, for pages of which the fast one is not sure: trafilatura."""

from typing import Any

import numpy as np

from corpus.extract.blocks import Walk

SURELY_NOT = 0.05
"""Elements all of whose blocks the fast extractor gives less are cut off first."""


def prune(walk: Walk, p: np.ndarray, limit: float = SURELY_NOT) -> None:
    """Cut off the elements that hold nothing but what is surely not main text.

    Less than half of the tree is left as a rule, and with it of the careful extractor's time.
    """
    hopeful: set[int] = set()
    for block, probability in zip(walk.blocks, p, strict=True):
        node = block.node if probability >= limit else None
        while node is not None and id(node) not in hopeful:
            hopeful.add(id(node))
            node = node.parent
    for node in walk.nodes:
        cut = node.parent is not None and id(node.parent) in hopeful and id(node) not in hopeful
        if cut and node.total:
            node.element.drop_tree()


def careful_text(root: Any) -> str:
    """Main text by trafilatura, with its fallbacks; empty where it finds none.

    Reads the tree and spoils it. Its deduplication stays off: it would remember other pages.
    """
    from trafilatura import extract

    text = extract(
        root,
        include_comments=False,
        include_tables=True,
        deduplicate=False,
        with_metadata=False,
    )
    return text or ""
