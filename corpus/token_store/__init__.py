"""The token store: tokenised documents on disk, read by memory map, sampled by formula."""

from corpus.token_store.batch import Batch, Locations
from corpus.token_store.mixture import Schedule
from corpus.token_store.reader import TokenStore, TokenStoreError, WindowDocuments
from corpus.token_store.sampler import Location, Sample, Sampler
from corpus.token_store.writer import ShardWriter, TokenStoreWriter

__all__ = [
    "Batch",
    "Location",
    "Locations",
    "Sample",
    "Sampler",
    "Schedule",
    "ShardWriter",
    "TokenStore",
    "TokenStoreError",
    "TokenStoreWriter",
    "WindowDocuments",
]
