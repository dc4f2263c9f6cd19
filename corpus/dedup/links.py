"""From band keys to clusters: links within a shard, then between shards, then components.

Within a shard documents that share a band are joined first, so that between shards one
record stands for all of them: a text that stands a million times in a shard is sent once.
A node is a uid; a cluster's number is the smallest uid in it.
"""

from pathlib import Path

import numpy as np

from corpus.dedup.components import components, forest, labels, send_edges
from corpus.dedup.config import DedupConfig
from corpus.dedup.groups import look_up, starts, translate
from corpus.dedup.identity import REPEATED
from corpus.dedup.sketches import Sketches
from corpus.dedup.verify import Checker, bucket_links
from corpus.exchange import EARLIER, PARTITIONS, SHARDS, Exchange, Place, record

_KEYS = Exchange(
    "links", "keys", SHARDS, PARTITIONS, record(key="u8", node="u8", shard="u4", row="u4")
)
_NODES = Exchange("links", "nodes", SHARDS, PARTITIONS, record(node="u8", shard="u4"))
_EARLIER = Exchange("earlier", "keys", EARLIER, PARTITIONS, record(key="u8", uid="u8"))
_SEEN = Exchange("bands", "seen", PARTITIONS, PARTITIONS, record(node="u8", uid="u8"))
LABELS = Exchange(
    "labels", "labels", PARTITIONS, SHARDS, record(node="u8", cluster="u8", seen="u8", is_seen="u1")
)
"""A shard's nodes, their clusters, and an earlier corpus's document near them."""


def link_shard(place: Place, sketches: Sketches, config: DedupConfig) -> None:
    """Step ``links`` over shards: joins the shard's own documents, sends one key for each group.

    Keeps ``node`` (u64, the group's smallest uid) and ``repeated`` (bool) of every row.
    """
    uids = sketches.documents(place.index)["uid"]
    repeated = np.zeros(len(uids), bool)
    repeated[place.read(REPEATED)["row"]] = True
    rows = np.flatnonzero(~repeated)
    rows = rows[np.argsort(uids[rows], kind="stable")]  # so the smallest number has the least uid
    keys = sketches.keys(place.index)[rows]
    shard = np.full(len(rows), place.index)
    check = Checker(sketches, config, shard, rows)
    links = [bucket_links(keys[:, band], check) for band in range(config.bands)]
    found = components(len(rows), np.concatenate(links))
    nodes = uids.copy()
    nodes[rows] = uids[rows][found]
    place.save("node", nodes)
    place.save("repeated", repeated)
    sent = [
        _sent_keys(keys[:, band], found, rows, nodes, place.index) for band in range(config.bands)
    ]
    place.send(_KEYS, "key", np.concatenate(sent))
    own = np.empty(len(np.unique(found)), _NODES.dtype)
    own["node"], own["shard"] = np.unique(nodes[rows]), place.index
    place.send(_NODES, "node", own)


def _sent_keys(
    keys: np.ndarray, found: np.ndarray, rows: np.ndarray, nodes: np.ndarray, shard: int
) -> np.ndarray:
    """One record per key and group of one band."""
    order = np.lexsort((found, keys))
    new = np.ones(len(order), bool)
    new[1:] = (keys[order[1:]] != keys[order[:-1]]) | (found[order[1:]] != found[order[:-1]])
    order = order[new]
    records = np.empty(len(order), _KEYS.dtype)
    records["key"], records["row"] = keys[order], rows[order]
    records["node"], records["shard"] = nodes[rows[order]], shard
    return records


def send_earlier(place: Place, parts: list[Path], bands: int) -> None:
    """Step ``earlier`` over the parts of earlier corpora's dedup indexes."""
    import pyarrow.parquet as pq

    table = pq.read_table(parts[place.index], columns=["uid", "bands"])
    keys = np.asarray(table["bands"].combine_chunks().flatten()).reshape(-1, bands)
    records = np.empty(keys.size, _EARLIER.dtype)
    records["key"] = keys.T.ravel()
    records["uid"] = np.tile(table["uid"].to_numpy(), bands)
    place.send(_EARLIER, "key", records)


def link_bands(place: Place, sketches: Sketches, config: DedupConfig) -> None:
    """Step ``bands`` over partitions: links between the shards, and what was seen before."""
    records = place.read(_KEYS)
    place.send(_SEEN, "node", _seen(records, place.read(_EARLIER)))
    check = Checker(sketches, config, records["shard"], records["row"])
    links = bucket_links(records["key"], check)
    edges = forest(records["node"][links[:, 0]], records["node"][links[:, 1]])
    send_edges(place, "bands", edges)


def _seen(records: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """The smallest earlier uid that shares a key with each node."""
    earlier = earlier[np.lexsort((earlier["uid"], earlier["key"]))]
    earlier = earlier[starts(earlier["key"])]
    place = look_up(earlier["key"], records["key"])
    met = np.empty(int((place >= 0).sum()), _SEEN.dtype)
    met["node"] = records["node"][place >= 0]
    met["uid"] = earlier["uid"][place[place >= 0]]
    met = met[np.lexsort((met["uid"], met["node"]))]
    return met[starts(met["node"])]


def label_nodes(place: Place, joined: str) -> None:
    """Step ``labels`` over partitions: every shard learns the clusters of its nodes."""
    nodes = place.read(_NODES)
    replies = np.zeros(len(nodes), LABELS.dtype)
    replies["node"] = nodes["node"]
    replies["cluster"] = translate(*labels(place, joined)[:2], nodes["node"])
    seen = place.read(_SEEN)
    seen = seen[np.lexsort((seen["uid"], seen["node"]))]
    seen = seen[starts(seen["node"])]
    found = look_up(seen["node"], nodes["node"])
    there = found >= 0
    replies["is_seen"] = there
    replies["seen"][there] = seen["uid"][found[there]]
    place.write(LABELS, nodes["shard"].astype(np.int64), replies)
