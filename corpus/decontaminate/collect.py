"""Cuts the items of evaluation sets into the n-grams of an index."""

from collections.abc import Iterable

import numpy as np

from contracts.ngrams import find_words, ngram_hashes, word_list
from corpus.decontaminate.config import DecontaminateConfig
from corpus.decontaminate.index import Coverage, Index
from corpus.errors import CorpusError

_COMMON_ITEMS = 10


class Collector:
    """Gathers n-grams set by set."""

    def __init__(self, config: DecontaminateConfig) -> None:
        self._config = config
        self._names: list[tuple[str, str]] = []
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
        first = len(self._names)
        for item, pieces in items:
            coverage.items += 1
            for piece in pieces:
                self._cut(name, item, piece, rows)
        coverage.common_ngrams = self._keep(rows, coverage.items)
        checked = {
            self._names[int(i)] for parts in self._grams.values() for _, ids, _ in parts
            for i in np.unique(ids) if i >= first
        }  # fmt: skip
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
        offsets, parts = [0], []
        for size in sizes:
            columns = [np.concatenate(column) for column in zip(*self._grams[size], strict=True)]
            order = np.lexsort((columns[2], columns[1], columns[0]))
            parts.append([column[order] for column in columns])
            offsets.append(offsets[-1] + len(order))
        empty = [np.zeros(0, np.uint64), np.zeros(0, np.uint32), np.zeros(0, np.uint32)]
        hashes, items, places = (
            [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else empty
        )
        return Index(
            sizes, offsets, hashes, items, places, self._names, self._texts, self._coverage
        )

    def _cut(
        self, name: str, item: str, piece: str, rows: dict[int, list[tuple[int, np.ndarray]]]
    ) -> None:
        hashes = find_words(piece).hashes
        if len(hashes) < self._config.min_words:
            return
        words = word_list(piece)
        size = min(self._size(words), len(words))
        self._names.append((name, item))
        self._texts.append(" ".join(words))
        rows.setdefault(size, []).append((len(self._names) - 1, ngram_hashes(hashes, size)))

    def _size(self, words: list[str]) -> int:
        single = sum(len(word) == 1 and not word.isascii() for word in words)
        unspaced = 2 * single > len(words)
        return self._config.character_ngram if unspaced else self._config.ngram

    def _keep(self, rows: dict[int, list[tuple[int, np.ndarray]]], items: int) -> int:
        """Take over the n-grams that are not common to the set; returns how many were."""
        most = max(int(self._config.max_benchmark_share * items), _COMMON_ITEMS)
        dropped = 0
        for size, parts in sorted(rows.items()):
            grams = np.concatenate([hashes for _, hashes in parts])
            owners = np.repeat(
                np.array([owner for owner, _ in parts], np.uint32), [len(h) for _, h in parts]
            )
            places = np.concatenate([np.arange(len(h), dtype=np.uint32) for _, h in parts])
            pairs = np.unique(np.stack([grams, owners.astype(np.uint64)]), axis=1)
            values, counts = np.unique(pairs[0], return_counts=True)
            common = values[counts > most]
            dropped += len(common)
            kept = ~np.isin(grams, common)
            if kept.any():
                self._grams.setdefault(size, []).append(
                    (grams[kept], owners[kept], places[kept])
                )
        return dropped
