"""The token store: tokenised documents on disk, read by memory map, sampled by formula."""

from corpus.token_store.reader import TokenStore, TokenStoreError, WindowDocuments
from corpus.token_store.sampler import Location, Sample, Sampler
from corpus.token_store.writer import ShardWriter, TokenStoreWriter

__all__ = [
    "Location",
    "Sample",
    "Sampler",
    "ShardWriter",
    "TokenStore",
    "TokenStoreError",
    "TokenStoreWriter",
    "WindowDocuments",
]
