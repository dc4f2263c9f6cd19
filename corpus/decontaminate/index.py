"""The n-grams of all evaluation sets, sorted by hash, to look whole documents up in."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from contracts.ngrams import find_words, ngram_hashes, word_list
from corpus.decontaminate.config import DecontaminateConfig
from corpus.decontaminate.items import read_items

_FILTER_BITS = 5
"""The filter has 2^4 to 2^5 bits for each n-gram: 1 of 16 look-ups of others, or fewer, goes on."""


class Hit(NamedTuple):
    """An item that a document overlaps."""

    benchmark: str
    item: str
    """File name and record number."""
    ngram: str
    """The words that both have; the first such run."""


@dataclass
class Coverage:
    """What of an evaluation set can be looked for."""

    items: int = 0
    unchecked: int = 0
    """Items with too few words, or whose every n-gram is common to the set."""
    common_ngrams: int = 0
    """n-grams left out because too many items have them."""


@dataclass
class Index:
    """n-grams of several sizes; ``hits`` costs one pass over the text per size.

    The arrays have the shape (n-grams,) and are sorted by (size, hash, item).
    """

    sizes: list[int]
    """n-gram sizes in words, ascending; an item shorter than its n-gram is found by its first
    ``min_words`` words and then compared whole."""
    offsets: list[int]
    """Where the n-grams of each size start, and their number at the end."""
    hashes: np.ndarray
    """u64."""
    items: np.ndarray
    """u32: number of the item that has it."""
    places: np.ndarray
    """u32: first word of the n-gram in the item."""
    names: list[tuple[str, str]]
    """(benchmark, item) of each item."""
    needed: list[int]
    """Words that must be the same, for each item: an n-gram's, or all of a shorter item."""
    texts: list[str]
    """Words of each item, joined by spaces: what a hit is confirmed by."""
    coverage: dict[str, Coverage] = field(default_factory=dict)
    """Benchmark -> what of it can be looked for."""

    def __post_init__(self) -> None:
        self._filters = [
            _Filter(self.hashes[first:last])
            for first, last in zip(self.offsets[:-1], self.offsets[1:], strict=True)
        ]

    def hits(self, text: str, language: str = "") -> list[Hit]:
        """Items that share an n-gram with a text, each once, by (benchmark, item).

        ``language`` is not needed: words are cut by script. Hits are confirmed by their words,
        so a collision of hashes gives none.
        """
        words = find_words(text).hashes
        found: dict[int, str] = {}
        spelled: list[str] = []
        for number, size in enumerate(self.sizes):
            for place, entry in self._entries(number, ngram_hashes(words, size)):
                item = int(self.items[entry])
                if item in found:
                    continue
                spelled = spelled or word_list(text)
                gram = self._shared(item, int(self.places[entry]), spelled, place)
                if gram:
                    found[item] = gram
        return sorted(Hit(*self.names[item], gram) for item, gram in found.items())

    def _entries(self, number: int, grams: np.ndarray) -> Iterator[tuple[int, int]]:
        """(place in the text, n-gram of the index) of all hashes that are the same."""
        first, last = self.offsets[number], self.offsets[number + 1]
        part = self.hashes[first:last]
        places = np.flatnonzero(self._filters[number].maybe(grams))
        if not len(places):
            return
        left = np.searchsorted(part, grams[places])
        same = part[np.minimum(left, len(part) - 1)] == grams[places]
        for place, entry in zip(places[same].tolist(), left[same].tolist(), strict=True):
            while entry < len(part) and part[entry] == grams[place]:
                yield place, first + entry
                entry += 1

    def _shared(self, item: int, start: int, spelled: list[str], place: int) -> str:
        """The words that item and text share from these places on, or nothing if too few."""
        needed = self.needed[item]
        gram = spelled[place : place + needed]
        same = self.texts[item].split(" ")[start : start + needed] == gram
        return " ".join(gram) if same and len(gram) == needed else ""


class _Filter:
    """A one-hash Bloom filter (Bloom 1970) over the top bits of the hashes."""

    def __init__(self, hashes: np.ndarray) -> None:
        bits = max(len(hashes), 1).bit_length() + _FILTER_BITS
        self._shift = np.uint64(64 - max(bits, 6))
        self._bits = np.zeros(1 << (max(bits, 6) - 3), np.uint8)
        places = hashes >> self._shift
        np.bitwise_or.at(self._bits, places >> np.uint64(3), _bit(places))

    def maybe(self, hashes: np.ndarray) -> np.ndarray:
        """Which hashes may be there, bool."""
        places = hashes >> self._shift
        return (self._bits[places >> np.uint64(3)] & _bit(places)) != 0


def _bit(places: np.ndarray) -> np.ndarray:
    return np.left_shift(np.uint8(1), (places & np.uint64(7)).astype(np.uint8))


def build_index(config: DecontaminateConfig) -> Index:
    """Read all evaluation sets.

    Raises:
        CorpusError: one cannot be read whole, or has no item that can be checked.
    """
    from corpus.decontaminate.collect import Collector

    collector = Collector(config)
    for benchmark in config.benchmarks:
        collector.add(benchmark.name, read_items(benchmark))
    return collector.index()
