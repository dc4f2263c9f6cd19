"""Stage ``corpus.build``: the steps in order, over Ray, each unit published on its own.

read (per shard) -> cluster -> train -> score (per shard) -> select -> write (per shard).
The steps between the parallel ones see only narrow columns of all candidates.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clusters.failpoints import failpoint
from clusters.stage import StageContext
from clusters.units import Unit
from contracts.documents import TRAIN, VALIDATION
from corpus.config import BuildConfig
from corpus.errors import CorpusError
from corpus.funnel import build_ledger, check_bad_share, losses, merged, stats_of_ledger
from corpus.leakage import measure
from corpus.ledger import LEDGER_NAME, QualityReport, SplitReport, Tally
from corpus.sources.plan import plan_shards
from corpus.sources.record import Shard
from corpus.steps import cluster, read, score, select, train, write
from corpus.tables import write_table
from corpus.unit_map import map_units, stats_of
from corpus.workspace import Workspace

_STAGE = "corpus.build"
_LIVE_CHECK_RECORDS = 1000
_CLUSTERS = "clusters.parquet"
_REPORT = "report.json"
_MODEL = "quality/model.bin"


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
        self.units = context.out.units
        self.shards = {shard.name: shard for shard in plan_shards(self.config)}
        self.work = Workspace(self.units, list(self.shards))

    def run(self) -> dict[str, Any]:
        """All steps, then the ledger."""
        tallies = self._read()
        self._once("cluster", self._cluster)
        self._once("train", self._train)
        report = self._report()
        if report.skipped is None:
            self._map("score", _score_unit, {"work": self.work, "config": self.config})
        self._once("select", self._select)
        tallies += self._map("write", _write_unit, {"work": self.work})
        split = SplitReport.model_validate(stats_of(self.units, "select/all")["split"])
        ledger = build_ledger(merged(tallies), report, split)
        path = self.context.out.path(LEDGER_NAME)
        path.write_text(ledger.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return stats_of_ledger(ledger)

    def _read(self) -> list[dict[str, Any]]:
        arguments = {"shards": self.shards, "config": self.config}
        stats = self._map("read", _read_unit, arguments, partial(self._live, Tally()))
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
        table = self.work.candidates(cluster.COLUMNS)
        clusters = cluster.cluster(table, self.config, self.context.seed)
        write_table(unit.scratch(_CLUSTERS), clusters)

    def _train(self, unit: Unit) -> None:
        quality = self.config.quality
        if not quality.enabled:
            report = QualityReport(skipped="quality.enabled is false")
        else:
            model = unit.scratch(_MODEL)
            examples = unit.scratch("examples.txt")
            sets = (self._examples(TRAIN), self._examples(VALIDATION))
            report = train.train_and_measure(*sets, quality, examples, model)
            if report.skipped is None:
                unit.files[_MODEL] = unit.scratch_files[_MODEL]
        unit.scratch(_REPORT).write_text(report.model_dump_json())

    def _examples(self, split: str) -> train.Examples:
        table = self.work.candidates(["uid", "source", "prose"])
        rows = train.sample_rows(table, self._clusters(), self.config.quality, split)
        negatives = self.work.of_shards("read", read.NEGATIVES_NAME)
        rejected = train.rejected_of_split(negatives, self.config, self.context.seed, split)
        prose = table["prose"].to_numpy()[rows].tolist()
        texts = self.work.texts(rows)
        return train.make_examples(texts, prose, rejected, self.config.quality, self.context.seed)

    def _report(self) -> QualityReport:
        text = self.work.file("train/all", _REPORT).read_text()
        return QualityReport.model_validate_json(text)

    def _clusters(self) -> pa.Table:
        return pq.read_table(self.work.file("cluster/all", _CLUSTERS))

    def _select(self, unit: Unit) -> None:
        scores = None
        if self._report().skipped is None:
            paths = self.work.of_shards("score", score.SCORES_NAME)
            scores = pa.concat_tables([pq.read_table(p) for p in paths])["quality"].to_numpy()
        table = self.work.candidates(["uid", "bytes"])
        limit = self.config.quality.min_score
        decisions = select.select(table, self._clusters(), scores, limit)
        unit.stats["split"] = self._leakage(decisions).model_dump()
        start = 0
        for name, count in zip(self.work.shards, self.work.counts(), strict=True):
            write_table(unit.scratch(f"{name}.parquet"), decisions.slice(start, count))
            start += count

    def _leakage(self, decisions: pa.Table) -> SplitReport:
        kept = pc.equal(decisions["stage"], "")
        table = self.work.candidates(["bytes", "paragraphs", "paragraph_bytes"]).filter(kept)
        groups = self._clusters()["group"].filter(kept).to_numpy()
        return measure(table, groups, decisions["split"].filter(kept).to_numpy())

    def _once(self, step: str, make: Callable[[Unit], None]) -> None:
        """A step over all shards: one unit, done by the driver."""
        name = f"{step}/all"
        if self.units.pending([name]):
            with self.units.start(name) as unit:
                make(unit)
        failpoint(f"{_STAGE}.{step}")

    def _map(
        self,
        step: str,
        work: Callable[..., None],
        arguments: dict[str, Any],
        note: Callable[[dict[str, Any]], str] | None = None,
    ) -> list[dict[str, Any]]:
        return map_units(
            self.units,
            f"{_STAGE}.{step}",
            self.work.shards,
            work,
            arguments,
            workers=self.config.workers,
            progress=self.context.progress,
            note=note,
        )


def _read_unit(unit: Unit, name: str, shards: dict[str, Shard], config: BuildConfig) -> None:
    read.read(unit, shards[name], config)


def _score_unit(unit: Unit, name: str, work: Workspace, config: BuildConfig) -> None:
    candidates = work.file(f"read/{name}", read.CANDIDATES_NAME)
    score.score(unit, candidates, work.file("train/all", _MODEL), config.quality)


def _write_unit(unit: Unit, name: str, work: Workspace) -> None:
    write.write(
        unit,
        name,
        candidates=work.file(f"read/{name}", read.CANDIDATES_NAME),
        rejected=work.file(f"read/{name}", read.REJECTED_NAME),
        decisions=work.file("select/all", f"{name}.parquet"),
    )
