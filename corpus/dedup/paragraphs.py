"""The long paragraphs of a text, by hash: what one text may share with another."""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from blake3 import blake3

_BREAK = re.compile(r"\n{2,}")


def long_paragraphs(text: str, min_chars: int) -> dict[int, int]:
    """64-bit hash -> UTF-8 bytes of every paragraph of at least ``min_chars`` characters.

    Paragraphs that differ in white space only agree; one that stands twice counts twice.
    """
    found: dict[int, int] = {}
    for part in _BREAK.split(text):
        if len(part) < min_chars:
            continue
        words = " ".join(part.split())
        if len(words) >= min_chars:
            raw = words.encode()
            key = int.from_bytes(blake3(raw).digest(8), "little")
            found[key] = found.get(key, 0) + len(raw)
    return found


@dataclass(frozen=True)
class Paragraphs:
    """Long paragraphs of many documents, one entry per document and paragraph."""

    rows: np.ndarray
    """Document, i64, shape (entries,), rising."""
    hashes: np.ndarray
    """u64, shape (entries,)."""
    sizes: np.ndarray
    """UTF-8 bytes, i64, shape (entries,)."""

    @classmethod
    def of_table(cls, table: pa.Table) -> "Paragraphs":
        """From the columns ``paragraphs`` and ``paragraph_bytes`` (lists) of candidates."""
        hashes, sizes = (table[name].combine_chunks() for name in ("paragraphs", "paragraph_bytes"))
        lengths = hashes.value_lengths().to_numpy()
        return cls(
            rows=np.repeat(np.arange(len(table)), lengths),
            hashes=hashes.flatten().to_numpy(),
            sizes=sizes.flatten().to_numpy().astype(np.int64),
        )

    def of_rows(self, wanted: np.ndarray) -> "Paragraphs":
        """Those of the documents where ``wanted`` is true, bool, shape (documents,)."""
        inside = wanted[self.rows]
        return Paragraphs(self.rows[inside], self.hashes[inside], self.sizes[inside])


def containment_links(
    owners: np.ndarray,
    hashes: np.ndarray,
    sizes: np.ndarray,
    totals: np.ndarray,
    *,
    max_share: float,
    max_owners: int,
) -> np.ndarray:
    """Links between owners of which the smaller has more than ``max_share`` in common.

    Args:
        owners: number of the owner of each paragraph, shape (entries,).
        hashes: u64, shape (entries,).
        sizes: of the paragraphs, shape (entries,).
        totals: size of each owner's whole text, shape (owners,).
        max_share: of the smaller one's text, between 0 and 1.
        max_owners: paragraphs of more owners are boilerplate and link nobody.

    Returns:
        Shape (links, 2), the smaller owner first.
    """
    order = np.lexsort((owners, hashes))
    owners, hashes, sizes = owners[order], hashes[order], sizes[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    owners, hashes, sizes = owners[new], hashes[new], sizes[new]
    _, number, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    rare = counts[number] <= max_owners
    owners, hashes, sizes = owners[rare], hashes[rare], sizes[rare]
    keys, shared = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    # Equal hashes lie side by side: neighbours at every distance are all pairs.
    for distance in range(1, min(max_owners, len(hashes))):
        same = hashes[distance:] == hashes[:-distance]
        keys.append(owners[:-distance][same] * len(totals) + owners[distance:][same])
        shared.append(np.minimum(sizes[:-distance], sizes[distance:])[same])
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    common = np.bincount(place, np.concatenate(shared), len(pairs))
    one, other = np.divmod(pairs, max(len(totals), 1))
    close = common > max_share * np.minimum(totals[one], totals[other])
    return np.stack([one[close], other[close]], axis=1)
