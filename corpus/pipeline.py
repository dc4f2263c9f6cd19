"""Stage ``corpus.build``: the steps in order, over Ray, each unit published on its own.

read -> (lines) -> sketch -> clusters -> classifiers -> survivors -> write. Each works on shards,
or on partitions of a shuffle; nothing in the driver grows with the number of documents.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from clusters.stage import StageContext
from clusters.units import Unit
from corpus.config import BuildConfig
from corpus.dedup.index import parts_of
from corpus.dedup.sketches import Sketches
from corpus.errors import CorpusError
from corpus.exchange import EARLIER, SHARDS, Flow, MemoryFlow
from corpus.exchange.units import UnitFlow
from corpus.funnel import (
    added_up,
    build_ledger,
    check_bad_share,
    losses,
    merged,
    stats_of_ledger,
)
from corpus.ledger import LEDGER_NAME, SplitReport
from corpus.live import LiveLedger
from corpus.memory import line as memory_line
from corpus.report.samples import SAMPLES_NAME, Samples, read_samples, write_samples
from corpus.sources.plan import plan_shards
from corpus.sources.record import Shard
from corpus.steps import (
    classifiers,
    cluster,
    evaluation_sets,
    lines,
    read,
    sketch,
    survivors,
    write,
)
from corpus.steps.shell import Shell
from corpus.unit_map import workers_of
from corpus.workspace import Workspace


def build(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the funnel's totals as stats.

    Raises:
        CorpusError: nothing to keep, too many bad records, or two records of one uid.
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
        self.sketches = Sketches(self.work, self.config.dedup.bands, self.config.dedup.rows)
        self.earlier = parts_of(context.inputs.get("earlier", []), self.config.dedup)

    def run(self) -> dict[str, Any]:
        """All steps, then the ledger."""
        self.context.progress.say(memory_line(self.config, workers_of(self.config.workers)))
        found = self._read()
        tallies = found + self._lines()
        partitions = self._sketch()
        groups = self._cluster(partitions)
        reports = classifiers.score_candidates(self.shell)
        split = self._survivors(partitions, groups)
        tallies += self._write()
        contamination = evaluation_sets.report(self.shell, found)
        write_samples(self.context.out.path(SAMPLES_NAME), self._samples())
        ledger = build_ledger(merged(tallies), reports, split, contamination)
        ledger.dropped_lines = added_up(found, "dropped_lines")
        ledger.skipped = added_up(found, "skipped")
        path = self.context.out.path(LEDGER_NAME)
        path.write_text(ledger.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return stats_of_ledger(ledger)

    def _read(self) -> list[dict[str, Any]]:
        arguments = {
            "shards": self.shards,
            "config": self.config,
            "seed": self.context.seed,
            "index": evaluation_sets.index_of(self.shell),
        }
        sizes = {f"read/{name}": shard.bytes for name, shard in self.shards.items()}
        pending = self.shell.units.pending(list(sizes))
        total = sum(sizes.values())
        before = total - sum(sizes[name] for name in pending)
        live = LiveLedger(self.context.log_dir, total, before)
        stats = self.shell.each_shard("read", _read_unit, arguments, live.add)
        tally = merged(stats)
        check_bad_share(tally, self.config.max_bad_share)
        if tally.amount("decontaminate", "").documents == 0:
            raise CorpusError(
                f"no document passed reading and the rules ({losses(tally)}), so the "
                "corpus would be empty; look at the sources, or loosen language and rules"
            )
        return stats

    def _samples(self) -> Samples:
        samples = Samples(self.context.seed)
        for step in ("read", "write"):
            for path in self.work.of_shards(step, SAMPLES_NAME):
                samples.merge(read_samples(path))
        return samples

    def _lines(self) -> list[dict[str, Any]]:
        """Repeated lines; later steps then read the texts without them."""
        config = self.config.lines
        if not config.enabled:
            return []
        size = sum(self._read_bytes(name) for name in self.work.shards)
        count = lines.partitions_for(size, config, self.config.dedup.partition_bytes)
        if self.config.dedup.partitions is not None:
            count = self.config.dedup.partitions
        flow = UnitFlow(self.shell, {SHARDS: self.work.shards, EARLIER: []}, count)
        tallies = lines.drop_repeated(flow, self.work, config)
        self.work.texts_of = lines.STEP
        return tallies

    def _read_bytes(self, shard: str) -> int:
        """UTF-8 bytes of a shard's candidates, from the file's own metadata, about."""
        metadata = pq.read_metadata(self.work.candidates_file(shard))
        return sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))

    def _sketch(self) -> int:
        """Sketches of all shards; the partitions of the shuffles that follow."""
        arguments = {"work": self.work, "config": self.config}
        stats = self.shell.each_shard("sketch", _sketch_unit, arguments)
        documents, size = (sum(found[name] for found in stats) for name in ("documents", "bytes"))
        return cluster.partitions_for(documents, size, self.config)

    def _cluster(self, partitions: int) -> dict[str, Any]:
        found = self._flow(
            "clusters",
            partitions,
            cluster.cluster,
            sketches=self.sketches,
            config=self.config,
            seed=self.context.seed,
            earlier=self.earlier,
        )
        if "collision" in found:
            raise CorpusError(self._explained(found["collision"]))
        return found

    def _explained(self, places: list[tuple[int, int]]) -> str:
        rows = []
        for shard, row in places:
            path = self.work.candidates_file(self.work.shards[shard])
            table = pq.read_table(path, columns=["uid", "source", "id"])
            rows.append(table.slice(row, 1).to_pylist()[0])
        names = [(row["source"], row["id"]) for row in rows]
        return (
            f"uid {rows[0]['uid']} stands for two records: {names[0]} and {names[1]}; "
            "give one of them another id"
        )

    def _survivors(self, partitions: int, groups: dict[str, Any]) -> SplitReport:
        found = self._flow(
            "survivors",
            partitions,
            survivors.survivors,
            work=self.work,
            sketches=self.sketches,
            prefer=self.config.dedup.prefer,
            groups=groups,
        )
        return SplitReport.model_validate(found)

    def _flow(
        self, step: str, partitions: int, run: Callable[..., Any], **arguments: Any
    ) -> dict[str, Any]:
        """Run steps as one unit where one partition holds all, else as units of their own."""
        names: Any = {
            SHARDS: self.work.shards,
            EARLIER: [f"{number:05d}" for number in range(len(self.earlier))],
        }
        if partitions > 1:
            return run(UnitFlow(self.shell, names, partitions), **arguments)
        given = {"names": names, "run": run, "arguments": arguments}
        return self.shell.map(step, ["all"], _flow_unit, given)[0]["found"]

    def _write(self) -> list[dict[str, Any]]:
        arguments = {
            "work": self.work,
            "sketches": self.sketches,
            "config": self.config,
            "seed": self.context.seed,
        }
        return self.shell.each_shard("write", _write_unit, arguments)


def _read_unit(
    unit: Unit,
    name: str,
    shards: dict[str, Shard],
    config: BuildConfig,
    seed: int,
    index: Path | None,
) -> None:
    read.read(unit, shards[name], config, seed, index)


def _sketch_unit(unit: Unit, name: str, work: Workspace, config: BuildConfig) -> None:
    sketch.sketch(unit, work.candidates_file(name), config)


def _flow_unit(
    unit: Unit, name: str, names: Any, run: Callable[[Flow], Any], arguments: dict[str, Any]
) -> None:
    unit.stats["found"] = run(MemoryFlow(unit, names), **arguments)


def _write_unit(
    unit: Unit, name: str, work: Workspace, sketches: Sketches, config: BuildConfig, seed: int
) -> None:
    rejected: list[Path] = [work.file(f"read/{name}", read.REJECTED_NAME)]
    if config.lines.enabled:
        rejected.append(work.file(f"{lines.STEP}/{name}", lines.REJECTED_NAME))
    steps = write.LATER_STEPS if config.lines.enabled else (lines.STEP, *write.LATER_STEPS)
    write.write(unit, name, work, rejected, steps, seed)
    if config.dedup.index:
        write.write_dedup(unit, name, work, sketches, config.dedup)
