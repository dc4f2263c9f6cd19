"""Slow, obvious counterparts of the compiled loops."""

import re
import unicodedata
from itertools import combinations

from corpus.dedup.alphabet import UNSPACED


def is_unspaced(character: str) -> bool:
    inside = any(first <= ord(character) <= last for first, last in UNSPACED)
    return inside and bool(re.match(r"\w", character) or unicodedata.category(character)[0] == "M")


def tokens(text: str, alone: bool) -> list[str]:
    """Words of the lower-cased text; with ``alone``, characters of unspaced scripts apart."""
    found: list[str] = []
    inside = False
    for character in text.lower():
        unspaced = is_unspaced(character)
        if unspaced and alone:
            found.append(character)
            inside = False
        elif unspaced or re.match(r"\w", character):
            if inside:
                found[-1] += character
            else:
                found.append(character)
            inside = True
        else:
            inside = False
    return found or [text.lower()]


def shingles(text: str, width: int, alone: bool = False) -> set[tuple[str, ...]]:
    words = tokens(text, alone)
    width = min(width, len(words))
    return {tuple(words[i : i + width]) for i in range(len(words) - width + 1)}


def jaccard(one: set, other: set) -> float:
    return len(one & other) / len(one | other)


def paragraphs(text: str, min_chars: int) -> list[tuple[str, int]]:
    """Long paragraphs of the lower-cased text, white space as one space, with UTF-8 bytes."""
    parts = (" ".join(part.split()) for part in re.split(r"\n{2,}", text.lower()))
    return [(part, len(part.encode())) for part in parts if len(part) >= min_chars]


def components(nodes: list[int], links: list[tuple[int, int]]) -> dict[int, int]:
    """Node -> smallest node of its component, by breadth-first search."""
    near: dict[int, set[int]] = {node: set() for node in nodes}
    for one, other in links:
        near[one].add(other)
        near[other].add(one)
    label: dict[int, int] = {}
    for start in sorted(nodes):
        waiting = [] if start in label else [start]
        while waiting:
            node = waiting.pop()
            if node not in label:
                label[node] = start
                waiting += near[node]
    return label


def groups_of(labels: dict[int, int]) -> set[frozenset[int]]:
    found: dict[int, set[int]] = {}
    for node, label in labels.items():
        found.setdefault(label, set()).add(node)
    return set(map(frozenset, found.values()))


def contained(owners: dict[int, list[str]], limit: int, share: float) -> set[tuple[int, int]]:
    """Pairs of documents (lists of paragraphs) that share more than ``share`` of the smaller."""
    everywhere = [p for parts in owners.values() for p in set(parts)]
    close = set()
    for one, other in combinations(sorted(owners), 2):
        both = set(owners[one]) & set(owners[other])
        common = sum(
            len(p) * min(owners[one].count(p), owners[other].count(p))
            for p in both
            if everywhere.count(p) <= limit
        )
        sizes = [sum(map(len, owners[d])) + 2 * (len(owners[d]) - 1) for d in (one, other)]
        if common > share * min(sizes):
            close.add((one, other))
    return close
