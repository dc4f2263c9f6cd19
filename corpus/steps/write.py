"""Step ``write``: one shard's part of the documents and of the rejects."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clusters.units import Unit
from contracts.documents import DOCUMENTS, REJECTED
from corpus.ledger import PASSED, Tally
from corpus.tables import write_table

_LATER_STEPS = ("identity", "dedup", "quality")


def write(unit: Unit, shard: str, candidates: Path, rejected: Path, decisions: Path) -> None:
    """Join candidates and decisions to the artifact's two parts; fills the unit's tally."""
    table = _joined(candidates, decisions)
    kept = table.filter(pc.equal(table["stage"], ""))
    lost = table.filter(pc.not_equal(table["stage"], ""))
    write_table(unit.path(f"documents/part-{shard}.parquet"), _shaped(kept, DOCUMENTS))
    late = _shaped(lost.append_column("score", pc.cast(lost["quality"], pa.float64())), REJECTED)
    early = pq.read_table(rejected)
    write_table(unit.path(f"rejected/part-{shard}.parquet"), pa.concat_tables([early, late]))
    unit.stats["tally"] = _tally(table).rows()


def _joined(candidates: Path, decisions: Path) -> pa.Table:
    columns = ["uid", "id", "url", "source", "text", "bytes", "lang", "lang_score"]
    table = pq.read_table(candidates, columns=columns)
    decided = pq.read_table(decisions)
    for name in decided.column_names:
        table = table.append_column(name, decided[name])
    return table


def _shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return table.select(schema.names).cast(schema)


def _tally(table: pa.Table) -> Tally:
    """Every candidate passed the steps before the one that rejected it."""
    tally = Tally()
    columns = ("stage", "reason", "source", "lang", "bytes", "split")
    for stage, reason, source, language, size, split in zip(
        *(table[name].to_pylist() for name in columns), strict=True
    ):
        for step in _LATER_STEPS:
            outcome = reason if step == stage else PASSED
            tally.add(step, outcome, source, language, size)
            if outcome != PASSED:
                break
        else:
            tally.add("kept", split, source, language, size)
    return tally
