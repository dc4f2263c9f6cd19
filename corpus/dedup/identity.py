"""Records that share a uid: the same record again, a changed one, or a collision."""

import numpy as np

from corpus.dedup.groups import starts
from corpus.dedup.sketches import Sketches
from corpus.exchange import PARTITIONS, SHARDS, Exchange, Place, record

_IDS = Exchange(
    "ids", "ids", SHARDS, PARTITIONS,
    record(uid="u8", content="u8", name="u8", shard="u4", row="u4"),
)  # fmt: skip
REPEATED = Exchange("identity", "repeated", PARTITIONS, SHARDS, record(row="u4"))
"""Rows whose id stood before, in an earlier shard or row, with other content."""


def send_ids(place: Place, sketches: Sketches) -> None:
    """Step ``ids`` over shards."""
    documents = sketches.documents(place.index)
    records = np.empty(len(documents), _IDS.dtype)
    for name in ("uid", "content", "name"):
        records[name] = documents[name]
    records["shard"] = place.index
    records["row"] = np.arange(len(documents))
    place.send(_IDS, "uid", records)


def find_repeated(place: Place) -> None:
    """Step ``identity`` over partitions; a collision is reported as (shard, row) twice."""
    records = place.read(_IDS)
    records = records[np.argsort(records["uid"], kind="stable")]
    first = starts(records["uid"])
    heads = records[np.repeat(first, np.diff(np.append(first, len(records))))]
    clash = np.flatnonzero(records["name"] != heads["name"])[:1]
    place.stats["collision"] = [
        (int(one["shard"]), int(one["row"])) for row in clash for one in (heads[row], records[row])
    ]
    repeated = records[records["content"] != heads["content"]]
    replies = np.empty(len(repeated), REPEATED.dtype)
    replies["row"] = repeated["row"]
    place.write(REPEATED, repeated["shard"].astype(np.int64), replies)
