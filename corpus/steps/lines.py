"""Steps ``line_hashes``, ``line_counts`` and ``lines``: what stands in too many documents goes.

A line is the same where it is equal but for white space at its ends; a paragraph is the text
between blank lines. Each is counted once per document.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from blake3 import blake3

from contracts.documents import REJECTED
from corpus.dedup.config import LinesConfig
from corpus.dedup.groups import starts
from corpus.exchange import PARTITIONS, SHARDS, Exchange, Flow, Place, record
from corpus.ledger import PASSED, Tally
from corpus.tables import TableWriter, batches
from corpus.workspace import CANDIDATES_NAME, Workspace

REJECTED_NAME = "rejected.parquet"
STEP = "lines"
_BYTES_PER_LINE = 16

_COUNTS = Exchange(
    "line_hashes", "counts", SHARDS, PARTITIONS, record(hash="u8", documents="u4", shard="u4")
)
_REPEATED = Exchange("line_counts", "repeated", PARTITIONS, SHARDS, record(hash="u8"))


def drop_repeated(flow: Flow, work: Workspace, config: LinesConfig) -> list[dict[str, Any]]:
    """Write every shard's candidates again without repeated lines; the units' tallies."""
    flow.each(SHARDS, "line_hashes", _send_hashes, work=work, config=config)
    flow.each(PARTITIONS, "line_counts", _find_repeated, most=config.max_documents)
    return flow.each(SHARDS, STEP, _rewrite, work=work, config=config)


def partitions_for(text_bytes: int, config: LinesConfig, partition_bytes: int) -> int:
    """Partitions of the shuffle, if every line were as short as a line may be."""
    return max(-(-text_bytes * _BYTES_PER_LINE // (config.min_chars * partition_bytes)), 1)


def _units_of(text: str, config: LinesConfig) -> Iterator[str]:
    for part in text.split("\n\n") if config.paragraphs else ():
        whole = part.strip()
        if len(whole) >= config.min_chars and "\n" in whole:
            yield whole
    for line in text.split("\n"):
        if len(line) >= config.min_chars and len(line.strip()) >= config.min_chars:
            yield line.strip()


def _hash(unit: str) -> int:
    return int.from_bytes(blake3(unit.encode()).digest(8), "little")


def _send_hashes(place: Place, work: Workspace, config: LinesConfig) -> None:
    """Step ``line_hashes`` over shards: in how many documents each line stands."""
    counted = np.empty(0, _COUNTS.dtype)
    path = work.file(f"read/{work.shards[place.index]}", CANDIDATES_NAME)
    for batch in batches(path, ["text"]):
        hashes = [
            hash_
            for text in batch["text"].to_pylist()
            for hash_ in {_hash(unit) for unit in _units_of(text, config)}
        ]
        new = np.zeros(len(hashes), _COUNTS.dtype)
        new["hash"], new["documents"] = np.array(hashes, np.uint64), 1
        counted = _added(np.concatenate([counted, new]))
    counted["shard"] = place.index
    place.send(_COUNTS, "hash", counted)


def _added(counted: np.ndarray) -> np.ndarray:
    ordered = counted[np.argsort(counted["hash"], kind="stable")]
    first = starts(ordered["hash"])
    joined = ordered[first].copy()
    if len(first):
        joined["documents"] = np.add.reduceat(ordered["documents"], first)
    return joined


def _find_repeated(place: Place, most: int) -> None:
    """Step ``line_counts`` over partitions: tells the shards which of their lines must go."""
    counted = place.read(_COUNTS)
    total = _added(counted)
    repeated = total["hash"][total["documents"] > most]
    told = counted[np.isin(counted["hash"], repeated)]
    replies = np.empty(len(told), _REPEATED.dtype)
    replies["hash"] = told["hash"]
    place.write(_REPEATED, told["shard"].astype(np.int64), replies)
    place.stats["repeated"] = len(repeated)


def _rewrite(place: Place, work: Workspace, config: LinesConfig) -> None:
    """Step ``lines`` over shards."""
    repeated = set(place.read(_REPEATED)["hash"].tolist())
    path = work.file(f"read/{work.shards[place.index]}", CANDIDATES_NAME)
    tally = Tally()
    kept = TableWriter(place.file(CANDIDATES_NAME), pq.read_schema(path))
    rejected = TableWriter(place.file(REJECTED_NAME), REJECTED)
    with kept, rejected:
        for batch in batches(path):
            for row in batch.to_pylist():
                _rewrite_row(row, repeated, config, kept, rejected, tally)
    place.stats["tally"] = tally.rows()


def _rewrite_row(
    row: dict[str, Any],
    repeated: set[int],
    config: LinesConfig,
    kept: TableWriter,
    rejected: TableWriter,
    tally: Tally,
) -> None:
    text = without(row["text"], repeated, config)
    lost = 1 - len(text) / max(len(row["text"]), 1)
    reason = "" if text else "only_repeated_lines"
    if text and lost > config.max_lost_share:
        reason = "mostly_repeated_lines"
    if reason:
        tally.add(STEP, reason, row["source"], row["lang"], row["bytes"])
        names = ("uid", "id", "url")
        rejected.add(
            {name: row[name] for name in names} | {"stage": STEP, "reason": reason, "score": lost}
        )
        return
    size = len(text.encode())
    tally.add(STEP, PASSED, row["source"], row["lang"], size)
    kept.add(row | {"text": text, "bytes": size})


def without(text: str, repeated: set[int], config: LinesConfig) -> str:
    """The text without the lines and paragraphs whose hashes are in ``repeated``."""
    parts = []
    for part in text.split("\n\n"):
        whole = part.strip()
        if config.paragraphs and "\n" in whole and _is_in(whole, repeated, config):
            continue
        lines = [line for line in part.split("\n") if not _is_in(line.strip(), repeated, config)]
        parts.append("\n".join(lines))
    return "\n\n".join(part for part in parts if part.strip()).strip()


def _is_in(unit: str, repeated: set[int], config: LinesConfig) -> bool:
    return len(unit) >= config.min_chars and _hash(unit) in repeated
