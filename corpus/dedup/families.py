"""Groups of clusters that must not be divided between the splits."""

import numpy as np

from corpus.dedup.components import labels
from corpus.dedup.groups import starts, translate
from corpus.dedup.quotes import CLUSTER_SIZES
from corpus.exchange import PARTITIONS, SHARDS, Exchange, Place, record

GROUPS = Exchange("groups", "groups", PARTITIONS, SHARDS, record(cluster="u8", group="u8"))
"""A shard's clusters and their groups."""
_MEMBERS = Exchange("groups", "members", PARTITIONS, PARTITIONS, record(group="u8", bytes="u8"))


def send_groups(place: Place, joined: str) -> None:
    """Step ``groups`` over partitions of clusters: every shard learns its clusters' groups.

    A group's number is its smallest cluster. The stats count clusters and their bytes, that of
    the smallest document of each: one of its documents will stay.
    """
    clusters = place.read(CLUSTER_SIZES)
    nodes, groups, linked = labels(place, joined)
    replies = np.empty(len(clusters), GROUPS.dtype)
    replies["cluster"] = clusters["cluster"]
    replies["group"] = translate(nodes, groups, clusters["cluster"])
    place.write(GROUPS, clusters["shard"].astype(np.int64), replies)
    order = np.lexsort((clusters["bytes"], clusters["cluster"]))
    order = order[starts(clusters["cluster"][order])]
    place.stats["clusters"] = len(order)
    place.stats["bytes"] = int(clusters["bytes"][order].sum())
    order = order[np.isin(clusters["cluster"][order], linked)]
    members = np.empty(len(order), _MEMBERS.dtype)
    members["group"], members["bytes"] = replies["group"][order], clusters["bytes"][order]
    place.send(_MEMBERS, "group", members)


def measure_families(place: Place, most_bytes: float) -> None:
    """Step ``families`` over partitions of groups of several clusters.

    The stats hold the groups of more than ``most_bytes`` (few: they share the whole text),
    and count groups, their clusters and the largest one's.
    """
    members = place.read(_MEMBERS)
    members = members[np.argsort(members["group"], kind="stable")]
    first = starts(members["group"])
    sizes = np.diff(np.append(first, len(members)))
    text = np.add.reduceat(members["bytes"], first) if len(first) else np.empty(0, np.uint64)
    place.stats |= {
        "large": members["group"][first][text > most_bytes].tolist(),
        "groups": len(first),
        "clusters": len(members),
        "largest": int(sizes.max(initial=0)),
    }
