"""Clusters that quote each other: one holds a good part of the other's long paragraphs.

Two clusters are linked where the paragraphs that stand in both make up more than a share of
the smaller one. A cluster's size is that of its smallest document that holds one of them.
"""

import numpy as np

from corpus.dedup.components import forest, send_edges
from corpus.dedup.groups import starts, translate
from corpus.dedup.links import LABELS
from corpus.dedup.sketches import Sketches
from corpus.exchange import PARTITIONS, SHARDS, Exchange, Place, record

_MIX = np.uint64(0x9E3779B97F4A7C15)

_HOLDERS = Exchange(
    "quotes", "holders", SHARDS, PARTITIONS,
    record(hash="u8", cluster="u8", size="u8", total="u8"),
)  # fmt: skip
CLUSTER_SIZES = Exchange(
    "quotes", "clusters", SHARDS, PARTITIONS, record(cluster="u8", bytes="u8", shard="u4")
)
"""A shard's clusters and the bytes of their smallest documents in it."""
_PAIR = record(
    pair="u8", one="u8", other="u8", common="u8", one_total="u8", other_total="u8"
)  # fmt: skip
_PAIRS = Exchange("pairs", "pairs", PARTITIONS, PARTITIONS, _PAIR)


def send_holders(place: Place, sketches: Sketches, max_owners: int) -> None:
    """Step ``quotes`` over shards; keeps ``cluster``, ``seen`` and ``is_seen`` of every row.

    Of a paragraph of more than ``max_owners`` clusters so many are sent that this is seen.
    """
    found = place.read(LABELS)
    nodes, repeated = place.load("links", "node"), place.load("links", "repeated")
    # A record whose id came twice is alone, whatever became of the first of that id.
    clusters = np.where(repeated, nodes, translate(found["node"], found["cluster"], nodes))
    marked = found[found["is_seen"] != 0]
    seen = translate(marked["node"], marked["seen"], nodes)
    place.save("cluster", clusters)
    place.save("seen", seen)
    place.save("is_seen", np.isin(nodes, marked["node"]) & ~repeated)
    sizes = sketches.documents(place.index)["bytes"]
    place.send(CLUSTER_SIZES, "cluster", _cluster_sizes(clusters, sizes, ~repeated, place.index))
    paragraphs = per_document(sketches.paragraphs(place.index))
    paragraphs = paragraphs[~repeated[paragraphs["row"]]]
    holders = np.empty(len(paragraphs), _HOLDERS.dtype)
    holders["hash"], holders["size"] = paragraphs["hash"], paragraphs["size"]
    holders["cluster"] = clusters[paragraphs["row"]]
    holders["total"] = sizes[paragraphs["row"]]
    holders = _per_holder(holders)
    first = starts(holders["hash"])
    counts = np.diff(np.append(first, len(holders)))
    number = np.arange(len(holders)) - np.repeat(first, counts)
    place.send(_HOLDERS, "hash", holders[number <= max_owners])


def _cluster_sizes(
    clusters: np.ndarray, sizes: np.ndarray, wanted: np.ndarray, shard: int
) -> np.ndarray:
    numbers, place = np.unique(clusters[wanted], return_inverse=True)
    smallest = np.full(len(numbers), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, place, sizes[wanted])
    records = np.empty(len(numbers), CLUSTER_SIZES.dtype)
    records["cluster"], records["bytes"], records["shard"] = numbers, smallest, shard
    return records


def per_document(paragraphs: np.ndarray) -> np.ndarray:
    """PARAGRAPH records, one per row and hash: one that stands twice counts twice."""
    ordered = paragraphs[np.lexsort((paragraphs["hash"], paragraphs["row"]))]
    if len(ordered) < 2:
        return ordered
    new = np.ones(len(ordered), bool)
    new[1:] = (ordered["row"][1:] != ordered["row"][:-1]) | (
        ordered["hash"][1:] != ordered["hash"][:-1]
    )
    first = np.flatnonzero(new)
    joined = ordered[first].copy()
    joined["size"] = np.add.reduceat(ordered["size"], first)
    return joined


def _per_holder(holders: np.ndarray) -> np.ndarray:
    """One record per hash and cluster: the largest size, the smallest total."""
    ordered = holders[np.lexsort((holders["cluster"], holders["hash"]))]
    if not len(ordered):
        return ordered
    new = np.ones(len(ordered), bool)
    new[1:] = (ordered["hash"][1:] != ordered["hash"][:-1]) | (
        ordered["cluster"][1:] != ordered["cluster"][:-1]
    )
    first = np.flatnonzero(new)
    joined = ordered[first].copy()
    joined["size"] = np.maximum.reduceat(ordered["size"], first)
    joined["total"] = np.minimum.reduceat(ordered["total"], first)
    return joined


def find_pairs(place: Place, max_owners: int) -> None:
    """Step ``pairs`` over partitions of paragraphs: clusters that share one.

    A paragraph of more than ``max_owners`` clusters is boilerplate and makes no pair.
    """
    holders = _per_holder(place.read(_HOLDERS))
    first = starts(holders["hash"])
    counts = np.diff(np.append(first, len(holders)))
    kept = np.repeat((counts > 1) & (counts <= max_owners), counts)
    holders = holders[kept]
    found = [np.empty(0, _PAIR)]
    # Equal hashes lie side by side: neighbours at every distance are all pairs.
    for distance in range(1, min(max_owners, len(holders))):
        same = holders["hash"][distance:] == holders["hash"][:-distance]
        one, other = holders[:-distance][same], holders[distance:][same]
        pairs = np.empty(len(one), _PAIR)
        pairs["one"], pairs["other"] = one["cluster"], other["cluster"]
        pairs["one_total"], pairs["other_total"] = one["total"], other["total"]
        pairs["common"] = np.minimum(one["size"], other["size"])
        pairs["pair"] = one["cluster"] * _MIX ^ other["cluster"]
        found.append(pairs)
    place.send(_PAIRS, "pair", _added(np.concatenate(found)))


def _added(pairs: np.ndarray) -> np.ndarray:
    """One record per pair: common bytes added up, the smallest totals."""
    ordered = pairs[np.lexsort((pairs["other"], pairs["one"]))]
    if not len(ordered):
        return ordered
    new = np.ones(len(ordered), bool)
    new[1:] = (ordered["one"][1:] != ordered["one"][:-1]) | (
        ordered["other"][1:] != ordered["other"][:-1]
    )
    first = np.flatnonzero(new)
    joined = ordered[first].copy()
    joined["common"] = np.add.reduceat(ordered["common"], first)
    for name in ("one_total", "other_total"):
        joined[name] = np.minimum.reduceat(ordered[name], first)
    return joined


def link_contained(place: Place, max_share: float) -> None:
    """Step ``contained`` over partitions of pairs: links the clusters that share enough."""
    pairs = _added(place.read(_PAIRS))
    smaller = np.minimum(pairs["one_total"], pairs["other_total"])
    close = pairs["common"] > max_share * smaller
    send_edges(place, "contained", forest(pairs["one"][close], pairs["other"][close]))
