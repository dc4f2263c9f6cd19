"""Stage ``corpus.build``: the steps in order, over Ray, each unit published on its own.

read -> sketch (per shard) -> cluster -> train -> score (per shard) -> select -> write (per shard).
"""

from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clusters.stage import StageContext
from clusters.units import Unit
from corpus.config import BuildConfig
from corpus.errors import CorpusError
from corpus.funnel import build_ledger, check_bad_share, losses, merged, stats_of_ledger
from corpus.leakage import measure
from corpus.ledger import LEDGER_NAME, SplitReport, Tally
from corpus.sources.plan import plan_shards
from corpus.sources.record import Shard
from corpus.steps import classifiers, cluster, read, select, sketch, write
from corpus.steps.shell import Shell
from corpus.tables import write_table
from corpus.unit_map import stats_of
from corpus.workspace import Workspace

_LIVE_CHECK_RECORDS = 1000


def build(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the funnel's totals as stats.

    Raises:
        CorpusError: nothing to keep, or too many bad records.
    """
    return _Build(context).run()


class _Build:
    """One run of the stage."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.config: BuildConfig = context.config
        self.shards = {shard.name: shard for shard in plan_shards(self.config)}
        self.shell = Shell(context, list(self.shards))
        self.work = self.shell.work

    def run(self) -> dict[str, Any]:
        """All steps, then the ledger."""
        tallies = self._read()
        self.shell.each_shard("sketch", _sketch_unit, {"work": self.work, "config": self.config})
        self.shell.once("cluster", self._cluster)
        report = classifiers.score_candidates(self.shell)
        self.shell.once("select", self._select)
        tallies += self.shell.each_shard("write", _write_unit, {"work": self.work})
        split = SplitReport.model_validate(stats_of(self.shell.units, "select/all")["split"])
        ledger = build_ledger(merged(tallies), report, split)
        path = self.context.out.path(LEDGER_NAME)
        path.write_text(ledger.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return stats_of_ledger(ledger)

    def _read(self) -> list[dict[str, Any]]:
        arguments = {"shards": self.shards, "config": self.config}
        stats = self.shell.each_shard("read", _read_unit, arguments, partial(self._live, Tally()))
        tally = merged(stats)
        check_bad_share(tally, self.config.max_bad_share)
        if tally.amount("rules", "").documents == 0:
            raise CorpusError(
                f"no document passed reading, language and rules ({losses(tally)}), so the "
                "corpus would be empty; look at the sources, or loosen language and rules"
            )
        return stats

    def _live(self, tally: Tally, stats: dict[str, Any]) -> str:
        """The live ledger line; stops early where bad input is plainly too much."""
        tally.merge(stats["tally"])
        entered, passed = tally.amount("read"), tally.amount("rules", "")
        if entered.documents >= _LIVE_CHECK_RECORDS:
            check_bad_share(tally, self.config.max_bad_share)
        return (
            f"{entered.documents:,} records, {passed.documents:,} candidates "
            f"({passed.bytes / 1e6:.1f} MB)"
        )

    def _cluster(self, unit: Unit) -> None:
        table = self.work.candidates(["uid", "id", "source", "bytes"])
        paths = self.work.of_shards("sketch", sketch.SKETCHES_NAME)
        sketches = pa.concat_tables([pq.read_table(path) for path in paths])
        for name in sketches.column_names:
            table = table.append_column(name, sketches[name])
        self._write_slices(unit, cluster.cluster(table, self.config, self.context.seed))

    def _clusters(self) -> pa.Table:
        return pa.concat_tables([pq.read_table(self.work.clusters(s)) for s in self.work.shards])

    def _select(self, unit: Unit) -> None:
        found = [path for shard in self.work.shards if (path := self.work.scores(shard))]
        scores = (
            pa.concat_tables(map(pq.read_table, found))["quality"].to_numpy() if found else None
        )
        table = self.work.candidates(["uid", "bytes"])
        limit = self.config.quality.min_score
        decisions = select.select(table, self._clusters(), scores, limit)
        unit.stats["split"] = self._leakage(decisions).model_dump()
        self._write_slices(unit, decisions)

    def _write_slices(self, unit: Unit, table: pa.Table) -> None:
        start = 0
        for name, count in zip(self.work.shards, self.work.counts(), strict=True):
            write_table(unit.scratch(f"{name}.parquet"), table.slice(start, count))
            start += count

    def _leakage(self, decisions: pa.Table) -> SplitReport:
        kept = pc.equal(decisions["stage"], "")
        table = self.work.candidates(["bytes"])
        paths = self.work.of_shards("sketch", sketch.SKETCHES_NAME)
        sketches = pa.concat_tables([pq.read_table(path) for path in paths])
        for name in ("paragraphs", "paragraph_bytes"):
            table = table.append_column(name, sketches[name])
        groups = self._clusters()["group"].filter(kept).to_numpy()
        return measure(table.filter(kept), groups, decisions["split"].filter(kept).to_numpy())


def _read_unit(unit: Unit, name: str, shards: dict[str, Shard], config: BuildConfig) -> None:
    read.read(unit, shards[name], config)


def _sketch_unit(unit: Unit, name: str, work: Workspace, config: BuildConfig) -> None:
    sketch.sketch(unit, work.candidates_file(name), config)


def _write_unit(unit: Unit, name: str, work: Workspace) -> None:
    write.write(
        unit,
        name,
        candidates=work.candidates_file(name),
        rejected=work.file(f"read/{name}", read.REJECTED_NAME),
        decisions=work.file("select/all", f"{name}.parquet"),
    )
