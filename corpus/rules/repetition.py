"""Shares of a text that repeat: pieces seen before, the commonest n-gram, repeated n-grams."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from contracts.ngrams import ngram_hashes


def duplicate_shares(pieces: Sequence[str]) -> tuple[float, float]:
    """Share of pieces, and of their characters, in pieces that were seen before."""
    if not pieces:
        return 0.0, 0.0
    counts = Counter(pieces)
    if len(counts) == len(pieces):
        return 0.0, 0.0
    repeated_chars = sum((count - 1) * len(piece) for piece, count in counts.items() if count > 1)
    chars = sum(map(len, pieces))
    return (len(pieces) - len(counts)) / len(pieces), repeated_chars / max(chars, 1)


def top_ngram_share(hashes: np.ndarray, lengths: np.ndarray, n: int, least: float = 0.0) -> float:
    """Share of the words' characters in the most frequent n-gram.

    The n-gram counts only where it occurs more than once; of equally frequent ones the longest
    counts.

    Args:
        hashes: u64 of each word, shape (words,).
        lengths: characters of each word, shape (words,).
        n: words in an n-gram.
        least: the answer may be 0 where the share cannot be larger than this.
    """
    grams = ngram_hashes(hashes, n)
    if len(grams) < 2 or _most(np.sort(grams)) * n * lengths.max() <= least * lengths.sum():
        return 0.0
    order = np.argsort(grams)
    ordered = grams[order]
    firsts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(firsts, append=len(ordered))
    most = counts.max()
    if most < 2:
        return 0.0
    places = order[firsts[counts == most]]
    ends = np.concatenate(([0], np.cumsum(lengths)))
    chars = (ends[places + n] - ends[places]).max()
    return float(most * chars / ends[-1])


def _most(ordered: np.ndarray) -> int:
    """How often the most frequent of some sorted values occurs."""
    edges = np.flatnonzero(ordered[1:] != ordered[:-1])
    return int(np.diff(edges, prepend=-1, append=len(ordered) - 1).max())


def duplicate_ngram_shares(
    hashes: np.ndarray, lengths: np.ndarray, sizes: Iterable[int]
) -> Iterator[tuple[int, float]]:
    """(n, share of the words' characters in n-grams that occur more than once), each word once.

    An n-gram can only repeat where all shorter n-grams inside it do, so each size looks only at
    the places that the size before left: in ordinary prose nearly none.
    """
    places = np.arange(len(hashes))
    last = 0
    total = max(int(lengths.sum()), 1)
    for n in sorted(sizes):
        if not len(places):
            yield n, 0.0
            continue
        grams = ngram_hashes(hashes, n)
        places = _inside(places, n - last, len(grams)) if last else places[: len(grams)]
        places = _repeated(grams, places)
        last = n
        yield n, _covered(places, lengths, n) / total


def _inside(places: np.ndarray, longer: int, count: int) -> np.ndarray:
    """Places of the shorter size at which both ends of the longer n-gram repeat."""
    repeated = np.zeros(count + longer, bool)
    repeated[places[places < len(repeated)]] = True
    return np.flatnonzero(repeated[:count] & repeated[longer : longer + count])


def _repeated(grams: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The places, sorted, whose n-gram stands at another of the places too."""
    if len(places) < 2:
        return places[:0]
    here = grams[places]
    order = np.argsort(here)
    ordered = here[order]
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return places[:0]
    repeated = np.zeros(len(places), bool)
    repeated[order[1:][same]] = True
    repeated[order[:-1][same]] = True
    return places[repeated]


def _covered(places: np.ndarray, lengths: np.ndarray, n: int) -> int:
    """Characters of the words that n-grams at these places cover."""
    if not len(places):
        return 0
    edges = np.zeros(len(lengths) + 1, np.int64)
    np.add.at(edges, places, 1)
    np.add.at(edges, places + n, -1)
    return int(lengths[np.cumsum(edges[:-1]) > 0].sum())
