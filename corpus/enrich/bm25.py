"""BM25 over a pool that is read in blocks: each seed is a query, ranks are fused.

score(d, q) = sum over terms t of q of idf(t) * f * (k1 + 1) / (f + k1 * (1 - b + b * |d| / avg))
with idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5)) (Robertson and Zaragoza 2009; the form that
Lucene uses). Only words that stand in a seed can score, so of the pool only these are counted.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from corpus.enrich.config import Bm25Config
from corpus.value.features import CJK

_WORD = re.compile(f"[{CJK}]+|[^\\W_{CJK}]+")
_CJK_RUN = re.compile(f"[{CJK}]")


def terms_of(text: str, max_chars: int) -> list[str]:
    """Words in lower case; runs of Han and kana as overlapping pairs of characters."""
    words = _WORD.findall(text[:max_chars].lower())
    if text.isascii():
        return words
    found: list[str] = []
    for word in words:
        if _CJK_RUN.match(word):
            found += [word[i : i + 2] for i in range(max(len(word) - 1, 1))]
        else:
            found.append(word)
    return found


@dataclass(frozen=True)
class Counts:
    """What BM25 needs of some documents."""

    matrix: sparse.csr_matrix
    """Counts, shape (documents, vocabulary)."""
    lengths: np.ndarray
    """Terms of each document, shape (documents,)."""


class Vocabulary:
    """The terms that stand in any seed."""

    def __init__(self, seeds: Sequence[str], max_chars: int) -> None:
        self.max_chars = max_chars
        self._seeds = [Counter(terms_of(seed, max_chars)) for seed in seeds]
        self.terms = sorted(set().union(*self._seeds))
        self._place = {term: place for place, term in enumerate(self.terms)}

    def count(self, texts: Sequence[str]) -> Counts:
        """Counts of the vocabulary's terms in texts."""
        rows: list[int] = []
        columns: list[int] = []
        counts: list[int] = []
        lengths = np.zeros(len(texts), np.int64)
        for row, text in enumerate(texts):
            terms = terms_of(text, self.max_chars)
            lengths[row] = len(terms)
            for term, count in Counter(terms).items():
                place = self._place.get(term)
                if place is not None:
                    rows.append(row)
                    columns.append(place)
                    counts.append(count)
        shape = (len(texts), len(self.terms))
        matrix = sparse.csr_matrix((np.array(counts, np.float32), (rows, columns)), shape=shape)
        matrix.sort_indices()
        return Counts(matrix, lengths)

    def queries(self, frequencies: np.ndarray, documents: int, most: int) -> sparse.csr_matrix:
        """Idf of every seed's best terms, f32, shape (seeds, vocabulary).

        Args:
            frequencies: documents of the pool that hold each term, shape (vocabulary,).
            documents: documents of the pool.
            most: terms kept of each seed, by tf * idf, ties by term.
        """
        idf = np.log1p((documents - frequencies + 0.5) / (frequencies + 0.5))
        rows, columns = [], []
        for row, counts in enumerate(self._seeds):
            places = np.array(sorted(self._place[term] for term in counts), np.int64)
            found = np.array([counts[self.terms[place]] for place in places.tolist()], np.float64)
            known = frequencies[places] > 0
            weights = np.where(known, found * idf[places], -1.0)
            best = np.lexsort((places, -weights))[:most]
            best = best[weights[best] >= 0]
            rows += [row] * len(best)
            columns += places[best].tolist()
        values = idf[columns].astype(np.float32)
        return sparse.csr_matrix((values, (rows, columns)), shape=(len(self._seeds), len(idf)))


def scores(
    counts: Counts, queries: sparse.csr_matrix, average: float, config: Bm25Config
) -> np.ndarray:
    """BM25 of every document for every seed, f32, shape (documents, seeds)."""
    matrix = counts.matrix.tocsr(copy=True)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    norm = config.k1 * (1 - config.b + config.b * counts.lengths / max(average, 1e-9))
    f = matrix.data.astype(np.float64)
    matrix.data = (f * (config.k1 + 1) / (f + norm[rows])).astype(np.float32)
    return np.asarray((matrix @ queries.T).todense(), np.float32)


def best_of(
    values: np.ndarray, uids: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(seed, uid, score) of each seed's best documents with a score above 0, ties by uid."""
    seeds, found, kept = [], [], []
    for seed in range(values.shape[1]):
        positive = np.flatnonzero(values[:, seed] > 0)
        order = np.lexsort((uids[positive], -values[positive, seed]))[:top]
        rows = positive[order]
        seeds.append(np.full(len(rows), seed, np.int64))
        found.append(uids[rows])
        kept.append(values[rows, seed])
    return np.concatenate(seeds), np.concatenate(found), np.concatenate(kept)


def fuse(
    seeds: np.ndarray, uids: np.ndarray, values: np.ndarray, config: Bm25Config
) -> dict[int, tuple[float, int]]:
    """Uid -> (fused score, seeds that found it), over each seed's ``top`` documents."""
    order = np.lexsort((uids, -values, seeds))
    seeds, uids = seeds[order], uids[order]
    starts = np.flatnonzero(np.append(True, seeds[1:] != seeds[:-1])) if len(seeds) else seeds
    rank = np.arange(len(seeds)) - np.repeat(starts, np.diff(np.append(starts, len(seeds))))
    fused: dict[int, tuple[float, int]] = {}
    for uid, place in zip(uids.tolist(), rank.tolist(), strict=True):
        if place < config.top:
            score, count = fused.get(uid, (0.0, 0))
            fused[uid] = (score + 1 / (config.fusion + place + 1), count + 1)
    return fused
