r"""MinHash sketches of a document's shingles, and the band keys of locality-sensitive hashing.

A signature holds, for each of ``k`` hash functions, the smallest hash over a document's
shingles; two signatures agree in a share of places that estimates the Jaccard similarity
of the shingle sets (Broder 1997). Tokens are words, or single characters in languages
written without spaces. A token's hash runs over its characters; a shingle of n tokens
hashes to :math:`\sum_i w_i m^{n-1-i} \bmod 2^{64}` and is then finalised as in MurmurHash3;
the k functions are multiply-shift, :math:`(a x + b) \bmod 2^{64} \gg 32` with odd ``a``
(Dietzfelbinger et al. 1997).
"""

from dataclasses import dataclass

import numpy as np
from blake3 import blake3

from corpus.dedup.alphabet import code_points, kinds
from corpus.dedup.config import DedupConfig

CONTENT_BYTES = 16
_SEED = 20_240_601
"""Fixed: signatures of different corpora can be compared."""


@dataclass(frozen=True)
class Sketch:
    """What dedup knows of one document."""

    content: bytes
    """128-bit blake3 of the tokens: equal for texts that differ only in case, punctuation
    or white space."""
    signature: np.ndarray
    """u32, shape (bands * rows,)."""
    keys: np.ndarray
    """u64, shape (bands,)."""
    paragraphs: np.ndarray
    """Hashes of the long paragraphs, u64, shape (paragraphs,); one that stands twice, twice."""
    paragraph_bytes: np.ndarray
    """Their UTF-8 bytes, u32, in lower case, a run of white space as one space."""


class Sketcher:
    """Sketches texts; reuses its buffers from text to text."""

    def __init__(self, config: DedupConfig, min_paragraph_chars: int = 100) -> None:
        self.config = config
        self.min_paragraph_chars = min_paragraph_chars
        generator = np.random.Generator(np.random.PCG64(_SEED))
        num_hashes = config.bands * config.rows
        draw = generator.integers(0, 1 << 64, size=(2, num_hashes), dtype=np.uint64)
        self.a = draw[0] | np.uint64(1)
        self.b = draw[1]

    def sketch(self, text: str, language: str = "") -> Sketch:
        """The sketch of one text."""
        from corpus.dedup import kernels

        codes = code_points(text.lower())
        tokens = self.tokens(codes, language)
        shingles = self._shingles(tokens, language)
        found = np.empty(len(self.a), np.uint64)
        kernels.minima(shingles, self.a, self.b, found)
        keys = np.empty(self.config.bands, np.uint64)
        kernels.band_keys(found, self.config.rows, keys)
        most = len(codes) // max(self.min_paragraph_chars, 1) + 1
        hashes, sizes = np.empty(most, np.uint64), np.empty(most, np.uint32)
        count = kernels.paragraphs(codes, kinds(), self.min_paragraph_chars, hashes, sizes)
        return Sketch(
            content=blake3(tokens.tobytes()).digest(CONTENT_BYTES),
            signature=found.astype(np.uint32),
            keys=keys,
            paragraphs=hashes[:count],
            paragraph_bytes=sizes[:count],
        )

    def tokens(self, codes: np.ndarray, language: str = "") -> np.ndarray:
        """Hashes of the tokens, u64. A text without any token is one token as a whole."""
        from corpus.dedup import kernels

        alone = language in self.config.char_languages
        out = np.empty(len(codes), np.uint64)
        count = kernels.tokenise(codes, kinds(), alone, out)
        if count:
            return out[:count]
        raw = codes.astype("<u4").tobytes()
        return np.frombuffer(blake3(raw).digest(8), np.uint64)

    def shingles(self, text: str, language: str = "") -> np.ndarray:
        """Distinct shingle hashes of a text, sorted, u64."""
        return np.unique(self._shingles(self.tokens(code_points(text.lower()), language), language))

    def _shingles(self, tokens: np.ndarray, language: str) -> np.ndarray:
        """All shingle hashes; a text shorter than a shingle is one shingle."""
        from corpus.dedup import kernels

        config = self.config
        wanted = config.char_ngram if language in config.char_languages else config.ngram
        width = min(wanted, len(tokens))
        out = np.empty(len(tokens) - width + 1, np.uint64)
        kernels.shingle(tokens, width, out)
        return out


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Estimated Jaccard similarity of two signatures."""
    return float(np.mean(one == other))
