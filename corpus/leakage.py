"""Measures how much of the validation split also stands in the train split."""

import numpy as np
import pyarrow as pa

from contracts.documents import TRAIN, VALIDATION
from corpus.dedup.paragraphs import Paragraphs
from corpus.ledger import SplitReport


def measure(table: pa.Table, groups: np.ndarray, split: np.ndarray) -> SplitReport:
    """The report on documents that are kept.

    Args:
        table: columns bytes, paragraphs, paragraph_bytes.
        groups: split group of each document, shape (documents,).
        split: name of each document's split, shape (documents,).
    """
    sizes = table["bytes"].to_numpy()
    paragraphs = Paragraphs.of_table(table)
    trained = np.unique(paragraphs.of_rows(split == TRAIN).hashes)
    held_out = split == VALIDATION
    there = paragraphs.of_rows(held_out)
    inside = np.isin(there.hashes, trained)
    shared = np.bincount(there.rows[inside], there.sizes[inside], len(table))
    members = np.unique(groups, return_counts=True)[1]
    total = int(sizes[held_out].sum())
    return SplitReport(
        groups=len(members),
        linked_documents=int(members[members > 1].sum()),
        largest_group=int(members.max(initial=0)),
        validation_documents=int(held_out.sum()),
        validation_bytes=total,
        bytes_in_train=int(shared.sum()),
        share_in_train=float(shared.sum()) / max(total, 1),
        documents_mostly_in_train=int((shared > sizes / 2).sum()),
    )
