"""Step ``cluster``: which candidates are the same document, and which are held out."""

import numpy as np
import pyarrow as pa

from corpus.config import BuildConfig
from corpus.dedup.components import components
from corpus.dedup.minhash import band_links
from corpus.dedup.paragraphs import Paragraphs
from corpus.errors import CorpusError
from corpus.schemas import CLUSTERS
from corpus.split import decide, split_groups

COLUMNS = [
    "uid", "id", "source", "bytes", "content", "signature", "paragraphs", "paragraph_bytes",
]  # fmt: skip
"""What this step reads of the candidates."""


def cluster(table: pa.Table, config: BuildConfig, seed: int) -> pa.Table:
    """Clusters of all candidates, as CLUSTERS in the order of ``table``.

    ``table`` has the columns COLUMNS of all shards in shard order. A cluster's number is
    the smallest uid in it, a group's the smallest cluster.

    Raises:
        CorpusError: two different records share a uid.
    """
    uids = table["uid"].to_numpy()
    content = _group_numbers(table["content"])
    duplicate_id = _repeated_ids(table, uids, content)
    rows = np.flatnonzero(~duplicate_id)
    signatures = _signatures(table["signature"], config.dedup.bands * config.dedup.rows)[rows]
    links = np.concatenate(
        [
            band_links(signatures, config.dedup.bands, config.dedup.rows),
            _equal_links(content[rows]),
        ]
    )
    found = components(len(rows), links)
    smallest = np.full(len(rows), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, found, uids[rows])
    clusters = uids.copy()
    clusters[rows] = smallest[found]
    sizes = table["bytes"].to_numpy()
    groups = split_groups(
        clusters, sizes, Paragraphs.of_table(table).of_rows(~duplicate_id), config.split
    )
    return pa.table(
        {
            "cluster": clusters,
            "content": content,
            "duplicate_id": duplicate_id,
            "group": groups,
            "split": decide(clusters, groups, sizes, config.split, seed),
        },
        schema=CLUSTERS,
    )


def _group_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A number per row, equal where values are equal, by first sight."""
    return column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)


def _signatures(column: pa.ChunkedArray, width: int) -> np.ndarray:
    joined = b"".join(column.to_pylist())
    return np.frombuffer(joined, "<u4").reshape(-1, width)


def _equal_links(groups: np.ndarray) -> np.ndarray:
    """Links between neighbours of equal group, shape (links, 2)."""
    order = np.argsort(groups, kind="stable")
    same = groups[order[1:]] == groups[order[:-1]]
    return np.stack([order[:-1][same], order[1:][same]], axis=1)


def _repeated_ids(table: pa.Table, uids: np.ndarray, content: np.ndarray) -> np.ndarray:
    """True for a record whose id stood before with other content, shape (rows,)."""
    repeated = np.zeros(len(uids), bool)
    order = np.argsort(uids, kind="stable")
    again = np.flatnonzero(uids[order[1:]] == uids[order[:-1]]) + 1
    first: dict[int, int] = {}
    for place in again.tolist():
        row, before = int(order[place]), int(order[place - 1])
        head = first.setdefault(int(uids[row]), before)
        names = [(table["source"][r].as_py(), table["id"][r].as_py()) for r in (head, row)]
        if names[0] != names[1]:
            raise CorpusError(f"uid {uids[row]} stands for two records: {names[0]} and {names[1]}")
        repeated[row] = content[row] != content[head]
    return repeated
