"""What the block model sees of each block: its own looks, its place and its neighbours."""

import re
from math import log, log1p

import numpy as np

from corpus.extract.blocks import Block, Walk
from corpus.extract.container import container
from corpus.extract.names import HEADINGS

_END = re.compile(r"[.!?。！？…:;\"”»]$")
_DIGIT = re.compile(r"\d")
_LABEL = re.compile("[|\u00a9\u00bb\u203a]")
_PARAGRAPHS = ("p", "blockquote")
_ITEMS = ("li", "dd", "dt")
_CELLS = ("td", "th")
_LOOK_CHARS = 300
"""Counts of characters are taken from this much of a block."""
OWN = 35
NEIGHBOURS = (1, 2, -1, -2)
_SHOWN = (0, 1, 2, 4, 8, 9)
"""Columns of the neighbours that a block sees."""
WIDTH = OWN + len(NEIGHBOURS) * len(_SHOWN) + 2


def features(walk: Walk) -> np.ndarray:
    """One row per block, f32 of shape (blocks, WIDTH)."""
    blocks = walk.blocks
    if not blocks:
        return np.zeros((0, WIDTH), np.float32)
    container(walk)
    rows = _own(walk)
    shown = np.zeros((len(blocks) + 4, len(_SHOWN)), np.float32)
    shown[2:-2] = rows[:, _SHOWN]
    beside = [shown[2 + k : len(shown) - 2 + k] for k in NEIGHBOURS]
    prose = np.cumsum([block.good for block in blocks]) / (walk.top.good or 1)
    before = np.concatenate([[0.0], prose[:-1]])
    return np.hstack([rows, *beside, before[:, None], 1 - prose[:, None]]).astype(np.float32)


def _own(walk: Walk) -> np.ndarray:
    blocks = walk.blocks
    inside = [i for i, block in enumerate(blocks) if block.node.in_best]
    first, last = (inside[0], inside[-1]) if inside else (0, 0)
    title = next((i for i, block in enumerate(blocks) if block.tag == "h1"), -1)
    prose = walk.top.good or 1
    rows = [
        (*_looks(block), *_place(i, len(blocks), block, first, last, title), *_holder(block, prose))
        for i, block in enumerate(blocks)
    ]
    return np.array(rows, np.float32).reshape(len(blocks), OWN)


def _looks(block: Block) -> tuple[float, ...]:
    text, tag, node = block.text, block.tag, block.node
    size = len(text)
    head = text[:_LOOK_CHARS]
    is_paragraph, is_heading = tag in _PARAGRAPHS, tag in HEADINGS
    is_item, is_cell, is_code = tag in _ITEMS, tag in _CELLS, tag == "pre"
    return (
        log(size),
        block.link_chars / size,
        block.good > 0,
        node.bad,
        node.in_best,
        node.semantic,
        min(node.main_names, 3),
        min(node.other_names, 3),
        is_paragraph,
        is_heading,
        tag == "h1",
        is_item,
        is_cell,
        is_code,
        not (is_paragraph or is_heading or is_item or is_cell or is_code),
        _END.search(text) is not None,
        head.count(",") / len(head) * 20,
        len(_DIGIT.findall(head)) / len(head),
        head.isupper(),
        _LABEL.search(head) is not None,
        text[0].islower(),
        size > 200,
    )


def _place(
    i: int, count: int, block: Block, first: int, last: int, title: int
) -> tuple[float, ...]:
    return (
        i / count,
        i < first,
        i > last,
        (i - first) / (last - first + 1) if block.node.in_best else 0.0,
        0 <= i < title,
        i == title,
    )


def _holder(block: Block, prose: int) -> tuple[float, ...]:
    node = block.node
    text = node.total or 1
    return (
        log1p(node.good) / 10,
        node.good / prose,
        node.good / text,
        node.links / text,
        node.depth / 20,
        log1p(prose) / 10,
        block.good / prose,
    )
