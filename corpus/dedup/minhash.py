r"""MinHash signatures of word shingles, vectorised over documents.

A signature holds, for each of ``k`` hash functions, the smallest hash over a document's
shingles; two signatures agree in a share of places that estimates the Jaccard similarity
of the shingle sets (Broder 1997). Word hashes are 64 bits of blake3; a shingle of n words
hashes to :math:`\sum_i w_i m^{n-1-i} \bmod 2^{64}` and is then finalised as in MurmurHash3;
the k functions are multiply-shift, :math:`(a x + b) \bmod 2^{64} \gg 32` with odd ``a``
(Dietzfelbinger et al. 1997).
"""

import numpy as np
from blake3 import blake3

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MAX_CACHED_WORDS = 1 << 20
_SEED = 20_240_601
"""Fixed: signatures of different corpora can be compared."""


class MinHasher:
    """Computes signatures of ``num_hashes`` 32-bit hashes over shingles of ``ngram`` words."""

    def __init__(self, num_hashes: int, ngram: int) -> None:
        generator = np.random.Generator(np.random.PCG64(_SEED))
        draw = generator.integers(0, 1 << 64, size=(2, num_hashes), dtype=np.uint64)
        self.a = draw[0] | np.uint64(1)
        self.b = draw[1]
        self.ngram = ngram
        self._words: dict[str, int] = {}

    def signatures(self, documents: list[list[str]]) -> np.ndarray:
        """Signatures of documents given as words, shape (documents, num_hashes), u32.

        A document shorter than a shingle is one shingle. Raises ValueError on an empty one.
        """
        if not documents:
            return np.empty((0, len(self.a)), np.uint32)
        shingles = [self.shingles(words) for words in documents]
        starts = np.cumsum([0, *(len(s) for s in shingles[:-1])])
        joined = np.concatenate(shingles)
        result = np.empty((len(documents), len(self.a)), np.uint32)
        for i, (a, b) in enumerate(zip(self.a, self.b, strict=True)):
            hashed = (joined * a + b) >> np.uint64(32)
            result[:, i] = np.minimum.reduceat(hashed, starts)
        return result

    def shingles(self, words: list[str]) -> np.ndarray:
        """Distinct shingle hashes of one document, sorted, u64."""
        if not words:
            raise ValueError("a document without words has no shingles")
        hashes = self._hash_words(words)
        width = min(self.ngram, len(hashes))
        count = len(hashes) - width + 1
        mixed = np.zeros(count, np.uint64)
        for i in range(width):
            mixed = mixed * _MULTIPLIER + hashes[i : i + count]
        return np.unique(_finalise(mixed))

    def _hash_words(self, words: list[str]) -> np.ndarray:
        known = self._words
        if len(known) > _MAX_CACHED_WORDS:
            known.clear()
        for word in set(words).difference(known):
            raw = word.encode("utf-8", "surrogatepass")
            known[word] = int.from_bytes(blake3(raw).digest(8), "little")
        return np.fromiter(map(known.__getitem__, words), np.uint64, len(words))


def _finalise(x: np.ndarray) -> np.ndarray:
    """MurmurHash3's 64-bit finaliser (Appleby, public domain)."""
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Estimated Jaccard similarity of two signatures."""
    return float(np.mean(one == other))


def band_links(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """Links between documents that agree in a whole band, shape (links, 2), row numbers.

    Within a bucket each document is linked to the next one, so a bucket of n documents
    gives n - 1 links and one connected component.
    """
    links = []
    for band in range(bands):
        part = signatures[:, band * rows : (band + 1) * rows].astype(np.uint64)
        key = np.zeros(len(part), np.uint64)
        for column in range(rows):
            key = _finalise(key * _MULTIPLIER + part[:, column])
        order = np.argsort(key, kind="stable")
        same = key[order[1:]] == key[order[:-1]]
        links.append(np.stack([order[:-1][same], order[1:][same]], axis=1))
    return np.unique(np.concatenate(links), axis=0) if links else np.empty((0, 2), np.int64)
