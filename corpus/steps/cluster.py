"""Steps from ``ids`` to ``clusters``: which candidates are one document, and which are held out.

Everything is a shuffle over a :class:`~corpus.exchange.Flow`: in one process where one
partition holds all, else in work units. The result is the same.
"""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpus.config import BuildConfig
from corpus.dedup import families, identity, links, quotes
from corpus.dedup.components import run_rounds
from corpus.dedup.groups import translate
from corpus.dedup.sketches import Sketches
from corpus.exchange import EARLIER, PARTITIONS, SHARDS, Flow, Place
from corpus.schemas import CLUSTERS
from corpus.split import splits_of
from corpus.tables import write_table
from corpus.workspace import CLUSTERS_NAME

_KEY_BYTES = 24
_HOLDER_BYTES = 32
"""Of the largest records: a document sends one per band, a long paragraph one."""


def cluster(
    flow: Flow, sketches: Sketches, config: BuildConfig, seed: int, earlier: list[Path]
) -> dict[str, Any]:
    """Write every shard's CLUSTERS; returns counts of groups for the split's report.

    Where two different records share a uid it returns ``collision`` alone: shard and row of
    both.
    """
    flow.each(SHARDS, "ids", identity.send_ids, sketches=sketches)
    for stats in flow.each(PARTITIONS, "identity", identity.find_repeated):
        if stats["collision"]:
            return {"collision": stats["collision"]}
    dedup = {"sketches": sketches, "config": config.dedup}
    flow.each(SHARDS, "links", links.link_shard, **dedup)
    if earlier:
        bands = config.dedup.bands
        flow.each(EARLIER, "earlier", links.send_earlier, parts=earlier, bands=bands)
    flow.each(PARTITIONS, "bands", links.link_bands, **dedup)
    step = run_rounds(flow, "join", "bands")
    flow.each(PARTITIONS, "labels", links.label_nodes, joined=step)
    return _split(flow, sketches, config, seed)


def _split(flow: Flow, sketches: Sketches, config: BuildConfig, seed: int) -> dict[str, Any]:
    split = config.split
    most_owners = {"max_owners": split.max_paragraph_clusters}
    flow.each(SHARDS, "quotes", quotes.send_holders, sketches=sketches, **most_owners)
    flow.each(PARTITIONS, "pairs", quotes.find_pairs, **most_owners)
    flow.each(PARTITIONS, "contained", quotes.link_contained, max_share=split.max_containment)
    step = run_rounds(flow, "group", "contained")
    counted = flow.each(PARTITIONS, "groups", families.send_groups, joined=step)
    # Without held-out documents no group is too large for them.
    held = split.validation_share / 2 * sum(stats["bytes"] for stats in counted)
    most = held or math.inf
    found = flow.each(PARTITIONS, "families", families.measure_families, most_bytes=most)
    large = [group for stats in found for group in stats["large"]]
    share = split.validation_share
    flow.each(SHARDS, "clusters", _write_clusters, sketches=sketches, large=large, seed=seed,
              share=share)  # fmt: skip
    linked = sum(stats["clusters"] for stats in found)
    clusters = sum(stats["clusters"] for stats in counted)
    return {
        "groups": clusters - linked + sum(stats["groups"] for stats in found),
        "linked_documents": linked,
        "largest_group": max([min(clusters, 1), *(stats["largest"] for stats in found)]),
    }


def _write_clusters(
    place: Place, sketches: Sketches, large: list[int], seed: int, share: float
) -> None:
    """Step ``clusters`` over shards."""
    found = place.read(families.GROUPS)
    clusters = place.load("quotes", "cluster")
    groups = translate(found["cluster"], found["group"], clusters)
    is_seen = place.load("quotes", "is_seen")
    table = pa.table(
        {
            "cluster": clusters,
            "content": sketches.documents(place.index)["content"],
            "duplicate_id": place.load("links", "repeated"),
            "seen_earlier": pa.array(place.load("quotes", "seen"), mask=~is_seen),
            "group": groups,
            "split": pa.array(splits_of(groups, large, seed, share), pa.string()),
        },
        schema=CLUSTERS,
    )
    write_table(place.file(CLUSTERS_NAME), table)


def partitions_for(documents: int, text_bytes: int, config: BuildConfig) -> int:
    """Partitions of the shuffles: enough that none holds more than ``partition_bytes``, about."""
    dedup = config.dedup
    if dedup.partitions is not None:
        return dedup.partitions
    keys = _KEY_BYTES * dedup.bands * documents
    paragraphs = _HOLDER_BYTES * text_bytes // (4 * config.split.min_paragraph_chars)
    return max(-(-(keys + paragraphs) // dedup.partition_bytes), 1)
