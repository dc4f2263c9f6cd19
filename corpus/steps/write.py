"""Step ``write``: one shard's part of the documents, of the rejects and of the dedup index."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clusters.units import Unit
from contracts.documents import REJECTED, documents_schema
from corpus.dedup.config import DedupConfig
from corpus.dedup.index import write_index
from corpus.dedup.sketches import Sketches
from corpus.ledger import PASSED, Tally
from corpus.report.samples import SAMPLES_NAME, Samples, write_samples
from corpus.tables import batches, write_table
from corpus.workspace import Workspace

LATER_STEPS = ("identity", "dedup")


def write(
    unit: Unit,
    shard: str,
    work: Workspace,
    rejected: Sequence[Path],
    steps: Sequence[str],
    seed: int,
) -> None:
    """Join candidates, scores and decisions to the artifact's parts; fills the unit's tally.

    Args:
        unit: where to write.
        shard: name of the shard.
        work: what earlier steps left.
        rejected: the shard's rejects of earlier steps.
        steps: steps that are counted here, LATER_STEPS at the end.
        seed: chooses the samples.
    """
    decided = pq.read_table(work.decisions(shard))
    scores = _scores(work, shard)
    schema = documents_schema(scores.column_names if scores is not None else ())
    late: list[pa.Table] = [pq.read_table(path) for path in rejected]
    tally = Tally()
    samples = Samples(seed)
    path = unit.path(f"documents/part-{shard}.parquet")
    start = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as documents:
        for batch in batches(work.candidates_file(shard)):
            table = _joined(batch, decided.slice(start, len(batch)))
            if scores is not None:
                table = _joined(table, scores.slice(start, len(batch)))
            kept = pc.equal(table["stage"], "")
            if pc.any(kept).as_py():
                documents.write_table(_shaped(table.filter(kept), schema))
            late.append(_rejects(table.filter(pc.invert(kept))))
            _count(tally, table, steps)
            _offer(samples, table)
            start += len(batch)
    write_table(unit.path(f"rejected/part-{shard}.parquet"), pa.concat_tables(late))
    write_samples(unit.scratch(SAMPLES_NAME), samples)
    unit.stats["tally"] = tally.rows()


def write_dedup(
    unit: Unit, shard: str, work: Workspace, sketches: Sketches, config: DedupConfig
) -> None:
    """The shard's part of the index against which a later corpus is deduplicated."""
    number = work.shards.index(shard)
    decided = pq.read_table(work.decisions(shard), columns=["stage", "survivor"])
    wanted = np.asarray(pc.not_equal(decided["stage"], "identity"))
    write_index(
        unit.path(f"dedup/part-{shard}.parquet"),
        decided["survivor"].to_numpy()[wanted],
        sketches.documents(number)[wanted],
        sketches.keys(number)[wanted],
        config,
    )


def _scores(work: Workspace, shard: str) -> pa.Table | None:
    path = work.scores(shard)
    return None if path is None else pq.read_table(path)


def _joined(table: pa.Table, more: pa.Table) -> pa.Table:
    for name in more.column_names:
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, more[name])
    return table


def _shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def _rejects(lost: pa.Table) -> pa.Table:
    """Rows of ``rejected/``; what an earlier corpus holds is named by its uid."""
    reasons = [
        f"{reason}: {survivor}" if reason == "seen_earlier" else reason
        for reason, survivor in zip(
            lost["reason"].to_pylist(), lost["survivor"].to_pylist(), strict=True
        )
    ]
    place = lost.column_names.index("reason")
    lost = lost.set_column(place, "reason", pa.array(reasons, pa.string()))
    if "score" in lost.column_names:
        lost = lost.drop_columns(["score"])
    return _shaped(lost, REJECTED)


def _count(tally: Tally, table: pa.Table, steps: Sequence[str]) -> None:
    """Every candidate passed the steps before the one that rejected it."""
    columns = ("stage", "reason", "source", "lang", "bytes", "split")
    for stage, reason, source, language, size, split in zip(
        *(table[name].to_pylist() for name in columns), strict=True
    ):
        for step in steps:
            outcome = reason if step == stage else PASSED
            tally.add(step, outcome, source, language, size)
            if outcome != PASSED:
                break
        else:
            tally.add("kept", split, source, language, size)


def _offer(samples: Samples, table: pa.Table) -> None:
    """Kept documents, and those that a later step rejected, as examples."""
    columns = ("stage", "reason", "uid", "source", "lang", "url", "text")
    for stage, reason, uid, source, language, url, text in zip(
        *(table[name].to_pylist() for name in columns), strict=True
    ):
        samples.offer(
            stage or "kept", reason, uid, source=source, lang=language, text=text, url=url
        )
