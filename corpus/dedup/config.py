"""Config of deduplication, of repeated lines, and of the split that rests on the clusters."""

from typing import Literal

from pydantic import Field

from clusters.config import StageConfig


class LinesConfig(StageConfig):
    """Lines that stand in many documents: menus, footers, licences."""

    enabled: bool = False
    """Drop repeated lines before documents are compared."""
    min_chars: int = Field(default=20, ge=1)
    """Shorter lines (white space at the ends not counted) are never dropped."""
    max_documents: int = Field(default=6, ge=1)
    """A line that stands in more documents than this is dropped from all of them. C4 and
    CCNet keep one occurrence or none; 6 follows Llama 3's line-level rule (arXiv:2407.21783)."""
    paragraphs: bool = True
    """Judge paragraphs (text between blank lines) in the same way, as a whole."""
    max_lost_share: float = Field(default=0.7, ge=0, le=1)
    """A document that loses more than this share of its characters is rejected."""


class DedupConfig(StageConfig):
    """Exact and MinHash-LSH near duplicates."""

    ngram: int = Field(default=5, ge=1)
    """Words in a shingle."""
    char_ngram: int = Field(default=5, ge=1)
    """Characters in a shingle, for languages written without spaces."""
    char_languages: tuple[str, ...] = ("zh", "ja", "th", "lo", "km", "my", "bo", "yue", "wuu")
    """Languages whose shingles are of characters; ISO 639 codes."""
    bands: int = Field(default=14, ge=1)
    """LSH bands; two documents are near duplicates where one whole band agrees."""
    rows: int = Field(default=8, ge=1)
    """Hashes in a band. 14 x 8 is what FineWeb uses (arXiv:2406.17557)."""
    verify: Literal["none", "estimate", "exact"] = "none"
    """Check documents that share a band: by the share of equal MinHashes, or by the exact
    Jaccard similarity of their shingles. A pair below ``threshold`` is not linked."""
    threshold: float = Field(default=0.8, ge=0, le=1)
    """Lowest Jaccard similarity of a link, where ``verify`` asks for it."""
    prefer: str = "quality"
    """Score column (higher is better) by which the best of a cluster stays; then the longest,
    then the smallest uid. Where no such column is made, length decides."""
    index: bool = True
    """Keep ``dedup/part-*.parquet``, against which a later corpus can be deduplicated."""
    partition_bytes: int = Field(default=128 << 20, ge=1)
    """Bytes of sketches that one partition of a shuffle holds at most, about; smaller inputs
    are clustered in one piece, without a shuffle."""
    partitions: int | None = Field(default=None, ge=1)
    """Partitions of every shuffle; by default they follow from the text's size."""


class SplitConfig(StageConfig):
    """Which documents are held out."""

    validation_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of groups that go to ``validation``."""
    min_paragraph_chars: int = Field(default=100, ge=1)
    """Shorter paragraphs are not looked at: anybody may write them."""
    max_containment: float = Field(default=0.1, ge=0, le=1)
    """Two documents are of one group, so of one split, where more than this share of the
    smaller one's bytes is long paragraphs that stand in the other; 1 links none."""
    max_paragraph_clusters: int = Field(default=20, ge=1)
    """A paragraph that stands in more clusters than this is boilerplate and links none."""
