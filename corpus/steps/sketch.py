"""Step ``sketch``: what dedup needs to know of one shard's candidates."""

from functools import lru_cache
from pathlib import Path

import pyarrow.parquet as pq

from clusters.units import Unit
from corpus.config import BuildConfig
from corpus.dedup.exact import content_hash, words_of
from corpus.dedup.minhash import MinHasher
from corpus.dedup.paragraphs import long_paragraphs
from corpus.schemas import sketches
from corpus.tables import BATCH_ROWS, TableWriter

SKETCHES_NAME = "sketches.parquet"


@lru_cache(maxsize=1)
def _hasher(num_hashes: int, ngram: int) -> MinHasher:
    return MinHasher(num_hashes, ngram)


def sketch(unit: Unit, candidates: Path, config: BuildConfig) -> None:
    """Sketch every candidate, in the shard's order."""
    width = config.dedup.bands * config.dedup.rows
    hasher = _hasher(width, config.dedup.ngram)
    with (
        TableWriter(unit.scratch(SKETCHES_NAME), sketches(width)) as sketched,
        pq.ParquetFile(candidates) as reader,
    ):
        for batch in reader.iter_batches(BATCH_ROWS, columns=["text"]):
            texts = batch["text"].to_pylist()
            words = [words_of(text) for text in texts]
            signatures = hasher.signatures(words)
            for text, found, signature in zip(texts, words, signatures, strict=True):
                paragraphs = long_paragraphs(text, config.split.min_paragraph_chars)
                sketched.add(
                    {
                        "content": content_hash(found),
                        "signature": signature.astype("<u4").tobytes(),
                        "paragraphs": list(paragraphs),
                        "paragraph_bytes": list(paragraphs.values()),
                    }
                )
