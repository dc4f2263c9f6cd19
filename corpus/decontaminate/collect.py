"""Cuts the items of evaluation sets into the n-grams of an index."""

from collections.abc import Iterable

import numpy as np

from contracts.ngrams import find_words, ngram_hashes, word_list
from corpus.decontaminate.config import DecontaminateConfig
from corpus.decontaminate.index import Coverage, Index
from corpus.errors import CorpusError

NOTHING = np.uint64(0)
_COMMON_ITEMS = 10
_LEAST_VARIED = 3
"""A third of an n-gram's words must be different ones."""


class Collector:
    """Gathers n-grams set by set."""

    def __init__(self, config: DecontaminateConfig) -> None:
        self._config = config
        self._names: list[tuple[str, str]] = []
        self._needed: list[int] = []
        self._texts: list[str] = []
        self._grams: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
        self._coverage: dict[str, Coverage] = {}

    def add(self, name: str, items: Iterable[tuple[str, list[str]]]) -> None:
        """Add an evaluation set.

        Raises:
            CorpusError: none of its items can be checked.
        """
        coverage = Coverage()
        rows: dict[int, list[tuple[int, np.ndarray]]] = {}
        for item, pieces in items:
            coverage.items += 1
            for piece in pieces:
                self._cut(name, item, piece, rows)
        coverage.common_ngrams, checked = self._keep(rows, coverage.items)
        coverage.unchecked = coverage.items - len(checked)
        if not checked:
            raise CorpusError(
                f"benchmark {name!r}: none of its {coverage.items} items has enough words to be "
                "looked for; name other fields, or lower decontaminate.min_words"
            )
        self._coverage[name] = coverage

    def index(self) -> Index:
        """All n-grams, sorted."""
        sizes = sorted(self._grams)
        offsets: list[int] = [0]
        parts: list[list[np.ndarray]] = []
        for size in sizes:
            columns = [np.concatenate(column) for column in zip(*self._grams[size], strict=True)]
            order = np.lexsort((columns[2], columns[1], columns[0]))
            parts.append([column[order] for column in columns])
            offsets.append(offsets[-1] + len(order))
        empty: list[np.ndarray] = [np.zeros(0, kind) for kind in (np.uint64, np.uint32, np.uint32)]
        hashes, items, places = (
            [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else empty
        )
        return Index(
            sizes=sizes,
            offsets=offsets,
            hashes=hashes,
            items=items,
            places=places,
            names=self._names,
            needed=self._needed,
            texts=self._texts,
            coverage=self._coverage,
        )

    def _cut(
        self, name: str, item: str, piece: str, rows: dict[int, list[tuple[int, np.ndarray]]]
    ) -> None:
        hashes = find_words(piece).hashes
        if len(hashes) < self._config.min_words:
            return
        words = word_list(piece)
        size = self._size(words)
        grams = ngram_hashes(hashes, size)
        if len(grams):
            grams = varied(grams, hashes, size)
        else:
            grams = ngram_hashes(hashes, self._config.min_words)[:1]
        self._names.append((name, item))
        self._needed.append(min(size, len(words)))
        self._texts.append(" ".join(words))
        size = size if len(words) >= size else self._config.min_words
        rows.setdefault(size, []).append((len(self._names) - 1, grams))

    def _size(self, words: list[str]) -> int:
        single = sum(len(word) == 1 and not word.isascii() for word in words)
        unspaced = 2 * single > len(words)
        return self._config.character_ngram if unspaced else self._config.ngram

    def _keep(
        self, rows: dict[int, list[tuple[int, np.ndarray]]], items: int
    ) -> tuple[int, set[tuple[str, str]]]:
        """Take over the n-grams that are not common to the set.

        Returns how many were, and the items that can be found.
        """
        most = max(int(self._config.max_benchmark_share * items), _COMMON_ITEMS)
        dropped = 0
        checked: set[tuple[str, str]] = set()
        for size, parts in sorted(rows.items()):
            lengths = [len(hashes) for _, hashes in parts]
            grams = np.concatenate([hashes for _, hashes in parts])
            owners = np.repeat(np.array([owner for owner, _ in parts], np.uint32), lengths)
            places = np.concatenate([np.arange(n, dtype=np.uint32) for n in lengths])
            common = _common(grams, owners, most)
            dropped += len(common)
            kept = ~np.isin(grams, common) & (grams != NOTHING)
            if kept.any():
                columns = grams[kept], owners[kept], places[kept]
                self._grams.setdefault(size, []).append(columns)
                checked |= {self._names[owner] for owner in np.unique(owners[kept]).tolist()}
        return dropped, checked


def _common(grams: np.ndarray, owners: np.ndarray, most: int) -> np.ndarray:
    """Hashes that more than ``most`` owners have."""
    order = np.lexsort((owners, grams))
    grams, owners = grams[order], owners[order]
    new = np.ones(len(grams), bool)
    new[1:] = (grams[1:] != grams[:-1]) | (owners[1:] != owners[:-1])
    values, counts = np.unique(grams[new], return_counts=True)
    return values[counts > most]


def varied(grams: np.ndarray, hashes: np.ndarray, n: int) -> np.ndarray:
    """The n-grams, with ``NOTHING`` for those of few different words, which say too little.

    ``1 2 2 2 2 2 2 2 2 2 2 2 2`` is in a puzzle and in any log file.
    """
    if not len(grams):
        return grams
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(hashes, n), axis=1)
    different = 1 + (windows[:, 1:] != windows[:, :-1]).sum(axis=1)
    return np.where(different[: len(grams)] * _LEAST_VARIED >= n, grams, NOTHING)
