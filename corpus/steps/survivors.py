"""Steps from ``rank`` to ``leaked``: of every cluster the best stays; what the splits share.

Of a cluster the highest score in the column ``dedup.prefer`` stays, of equals the longest, then
the smallest uid, then the first read. A cluster that meets an earlier corpus goes as a whole.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.documents import TRAIN, VALIDATION
from corpus.dedup.groups import starts
from corpus.dedup.quotes import per_document
from corpus.dedup.sketches import Sketches
from corpus.exchange import PARTITIONS, SHARDS, Exchange, Flow, Place, record
from corpus.schemas import DECISIONS
from corpus.tables import write_table
from corpus.workspace import DECISIONS_NAME, Workspace

_KEPT, _NEAR, _EXACT, _SEEN, _DUPLICATE_ID = range(5)
_STAGES = np.array(["", "dedup", "dedup", "dedup", "identity"])
_REASONS = np.array(["", "near_duplicate", "exact_duplicate", "seen_earlier", "duplicate_id"])

_MEMBERS = Exchange(
    "rank", "members", SHARDS, PARTITIONS,
    record(cluster="u8", uid="u8", content="u8", seen="u8", bytes="u8", score="f4",
           is_seen="u1", copies="u4", shard="u4", row="u4"),
)  # fmt: skip
_OUTCOMES = Exchange(
    "best", "outcomes", PARTITIONS, SHARDS,
    record(row="u4", outcome="u1", members="u4", survivor="u8"),
)  # fmt: skip
_STANDING = Exchange(
    "survivors", "standing", SHARDS, PARTITIONS,
    record(hash="u8", shard="u4", row="u4", size="u4", trained="u1"),
)  # fmt: skip
_SHARED = Exchange("shared", "shared", PARTITIONS, SHARDS, record(row="u4", size="u4"))


def survivors(
    flow: Flow, work: Workspace, sketches: Sketches, prefer: str, groups: dict[str, Any]
) -> dict[str, Any]:
    """Write every shard's DECISIONS; returns how well the splits are kept apart, a SplitReport."""
    flow.each(SHARDS, "rank", _rank, work=work, sketches=sketches, prefer=prefer)
    flow.each(PARTITIONS, "best", _best)
    flow.each(SHARDS, "survivors", _decide, work=work, sketches=sketches)
    flow.each(PARTITIONS, "shared", _find_shared)
    found = flow.each(SHARDS, "leaked", _measure, sketches=sketches)
    total = {name: sum(stats[name] for stats in found) for name in found[0]} if found else {}
    size = total.get("validation_bytes", 0)
    share = total.get("bytes_in_train", 0) / max(size, 1)
    return {**groups, **total, "share_in_train": share}


def _rank(place: Place, work: Workspace, sketches: Sketches, prefer: str) -> None:
    """Step ``rank`` over shards: candidates with what they are judged by, to their clusters.

    Of a shard's documents of equal content the best stands for all. Keeps ``standing``: the row
    that stands for each row.
    """
    name = work.shards[place.index]
    clusters = pq.read_table(work.clusters(name))
    documents = sketches.documents(place.index)
    records = np.zeros(len(documents), _MEMBERS.dtype)
    records["uid"], records["bytes"] = documents["uid"], documents["bytes"]
    for field in ("cluster", "content"):
        records[field] = clusters[field].to_numpy()
    records["score"] = _scores(work, name, prefer, len(documents))
    records["is_seen"] = clusters["seen_earlier"].is_valid().to_numpy()
    records["seen"] = clusters["seen_earlier"].fill_null(0).to_numpy()
    records["shard"], records["row"] = place.index, np.arange(len(documents))
    records = _ordered(records[~clusters["duplicate_id"].to_numpy()], "content")
    both = np.stack([records["cluster"], records["content"]], axis=1)
    new = np.ones(len(records), bool)
    new[1:] = (both[1:] != both[:-1]).any(axis=1)
    first = np.flatnonzero(new)
    copies = np.diff(np.append(first, len(records)))
    standing = np.arange(len(documents))
    standing[records["row"]] = np.repeat(records["row"][first], copies)
    place.save("standing", standing)
    records = records[first]
    records["copies"] = copies
    place.send(_MEMBERS, "cluster", records)


def _ordered(members: np.ndarray, *before: str) -> np.ndarray:
    """Members by cluster (and more fields), the best first."""
    by = ["row", "shard", "uid"]
    keys = [members[name] for name in by]
    keys += [-members["bytes"].astype(np.int64), -members["score"]]
    keys += [members[name] for name in before] + [members["cluster"]]
    return members[np.lexsort(keys)]


def _scores(work: Workspace, shard: str, prefer: str, count: int) -> np.ndarray:
    path = work.scores(shard)
    if path is None or prefer not in pq.read_schema(path).names:
        return np.zeros(count, np.float32)
    column = pq.read_table(path, columns=[prefer])[prefer].to_numpy()
    return np.nan_to_num(column.astype(np.float32), nan=0.0)


def _best(place: Place) -> None:
    """Step ``best`` over partitions of clusters: what becomes of every member."""
    members = _ordered(place.read(_MEMBERS))
    first = starts(members["cluster"])
    sizes = np.diff(np.append(first, len(members)))
    replies = np.empty(len(members), _OUTCOMES.dtype)
    replies["row"] = members["row"]
    total = np.add.reduceat(members["copies"], first) if len(first) else sizes
    replies["members"] = np.repeat(total, sizes)
    replies["survivor"] = np.repeat(members["uid"][first], sizes)
    outcome = np.where(_again(members), _EXACT, _NEAR)
    outcome[first] = _KEPT
    met, earliest = _seen(members)
    outcome[np.isin(members["cluster"], met)] = _SEEN
    order = np.searchsorted(met, members["cluster"]) if len(met) else np.empty(0, np.int64)
    there = outcome == _SEEN
    if len(met):
        replies["survivor"][there] = earliest[order[there]]
    replies["outcome"] = outcome
    place.write(_OUTCOMES, members["shard"].astype(np.int64), replies)


def _again(members: np.ndarray) -> np.ndarray:
    """True where a cluster's content stood before in the cluster's order."""
    order = np.lexsort((np.arange(len(members)), members["content"], members["cluster"]))
    again = np.zeros(len(members), bool)
    one, other = members[order[:-1]], members[order[1:]]
    again[order[1:]] = (one["cluster"] == other["cluster"]) & (one["content"] == other["content"])
    return again


def _seen(members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(clusters that meet an earlier corpus, rising; the smallest earlier uid of each)."""
    seen = members[members["is_seen"] != 0]
    seen = seen[np.lexsort((seen["seen"], seen["cluster"]))]
    seen = seen[starts(seen["cluster"])]
    return seen["cluster"], seen["seen"]


def _decide(place: Place, work: Workspace, sketches: Sketches) -> None:
    """Step ``survivors`` over shards: DECISIONS; long paragraphs of what is kept go on."""
    clusters = pq.read_table(work.clusters(work.shards[place.index]))
    documents = sketches.documents(place.index)
    found = place.read(_OUTCOMES)
    outcome = np.full(len(clusters), _DUPLICATE_ID)
    members, survivor = np.ones(len(clusters), np.uint32), documents["uid"].copy()
    outcome[found["row"]] = found["outcome"]
    members[found["row"]] = found["members"]
    survivor[found["row"]] = found["survivor"]
    standing = place.load("rank", "standing")
    copied = np.flatnonzero(standing != np.arange(len(standing)))
    outcome[copied] = np.where(outcome[standing[copied]] == _SEEN, _SEEN, _EXACT)
    members[copied], survivor[copied] = members[standing[copied]], survivor[standing[copied]]
    table = pa.table(
        {
            "stage": _STAGES[outcome],
            "reason": _REASONS[outcome],
            "cluster": clusters["cluster"],
            "split": clusters["split"],
            "dup_count": members,
            "survivor": survivor,
        },
        schema=DECISIONS,
    )
    write_table(place.file(DECISIONS_NAME), table)
    split = np.array(clusters["split"].to_pylist(), object)
    kept = outcome == _KEPT
    place.save("validation", kept & (split == VALIDATION))
    paragraphs = per_document(sketches.paragraphs(place.index))
    paragraphs = paragraphs[kept[paragraphs["row"]]]
    sent = np.empty(len(paragraphs), _STANDING.dtype)
    for name in ("hash", "row", "size"):
        sent[name] = paragraphs[name]
    sent["shard"] = place.index
    sent["trained"] = split[paragraphs["row"]] == TRAIN
    trained = sent[sent["trained"] != 0]
    once = np.unique(trained["hash"], return_index=True)[1]
    place.send(_STANDING, "hash", np.concatenate([sent[sent["trained"] == 0], trained[once]]))


def _find_shared(place: Place) -> None:
    """Step ``shared`` over partitions: validation paragraphs that a train document holds too."""
    standing = place.read(_STANDING)
    trained = standing["trained"] != 0
    held_out = standing[~trained]
    shared = held_out[np.isin(held_out["hash"], standing["hash"][trained])]
    replies = np.empty(len(shared), _SHARED.dtype)
    replies["row"], replies["size"] = shared["row"], shared["size"]
    place.write(_SHARED, shared["shard"].astype(np.int64), replies)


def _measure(place: Place, sketches: Sketches) -> None:
    """Step ``leaked`` over shards: how much of the shard's validation text is in train."""
    sizes = sketches.documents(place.index)["bytes"].astype(np.int64)
    held_out = place.load("survivors", "validation")
    found = place.read(_SHARED)
    shared = np.bincount(found["row"], found["size"], len(sizes))
    place.stats |= {
        "validation_documents": int(held_out.sum()),
        "validation_bytes": int(sizes[held_out].sum()),
        "bytes_in_train": int(shared.sum()),
        "documents_mostly_in_train": int((shared > sizes / 2).sum()),
    }
