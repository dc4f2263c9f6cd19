"""Candidates on disk and flows over them that need no Ray."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clusters.units import Units
from contracts.documents import document_uid
from corpus.config import BuildConfig
from corpus.dedup.sketches import Sketches
from corpus.exchange import EARLIER, SHARDS, MemoryFlow
from corpus.exchange.units import UnitFlow
from corpus.schemas import CANDIDATES
from corpus.steps.cluster import cluster
from corpus.steps.sketch import sketch
from corpus.steps.survivors import survivors
from corpus.workspace import CANDIDATES_NAME, SCORES_NAME, Workspace

Row = dict[str, Any]


def config(**more: Any) -> BuildConfig:
    return BuildConfig.model_validate(
        {"sources": [{"path": "x", "format": "jsonl", "source": "s"}], **more}
    )


def row(id_: str, text: str, lang: str = "en", **more: Any) -> Row:
    defaults = {
        "uid": document_uid("s", id_), "id": id_, "source": "s", "text": text,
        "bytes": len(text.encode()), "lang": lang, "lang_score": 0.9,
    }  # fmt: skip
    return {**defaults, **more}


class Inline:
    """Runs units in this process, one after the other."""

    def __init__(self, work: Workspace) -> None:
        self.work = work
        self.done: list[str] = []

    def map(
        self, step: str, names: list[str], call: Callable[..., None], arguments: dict[str, Any]
    ) -> list[dict[str, Any]]:
        stats = []
        for name in names:
            full = f"{step}/{name}"
            if self.work.units.pending([full]):
                with self.work.units.start(full) as unit:
                    call(unit, name, **arguments)
                self.done.append(full)
            record = self.work.units.record(full)
            assert record is not None
            stats.append(record.stats)
        return stats


class Made:
    """Shards of candidates, sketched; clustered and judged when asked."""

    def __init__(
        self,
        folder: Path,
        shards: list[list[Row]],
        settings: BuildConfig,
        scores: list[list[float]] | None = None,
    ) -> None:
        self.settings = settings
        names = [f"{number:05d}" for number in range(len(shards))]
        self.work = Workspace(Units(folder), names)
        self.rows = [r for shard in shards for r in shard]
        for number, (name, rows) in enumerate(zip(names, shards, strict=True)):
            with self.work.units.start(f"read/{name}") as unit:
                table = pa.Table.from_pylist(rows, schema=CANDIDATES)
                pq.write_table(table, unit.scratch(CANDIDATES_NAME))
            with self.work.units.start(f"sketch/{name}") as unit:
                sketch(unit, self.work.candidates_file(name), settings)
            if scores is not None:
                with self.work.units.start(f"score/{name}") as unit:
                    column = pa.array(scores[number], pa.float32())
                    pq.write_table(pa.table({"quality": column}), unit.scratch(SCORES_NAME))
        self.sketches = Sketches(self.work, settings.dedup.bands, settings.dedup.rows)

    def cluster(self, partitions: int, earlier: list[Path] | None = None) -> dict[str, Any]:
        given = (self.sketches, self.settings, 3, earlier or [])
        return self._run("clusters", partitions, cluster, given, len(earlier or []))

    def survivors(self, partitions: int, groups: dict[str, Any]) -> dict[str, Any]:
        given = (self.work, self.sketches, self.settings.dedup.prefer, groups)
        return self._run("survivors", partitions, survivors, given, 0)

    def _run(
        self, step: str, partitions: int, run: Callable, given: tuple, earlier: int
    ) -> dict[str, Any]:
        names: Any = {SHARDS: self.work.shards, EARLIER: [f"e{i}" for i in range(earlier)]}
        if partitions > 1:
            return run(UnitFlow(Inline(self.work), names, partitions), *given)
        with self.work.units.start(f"{step}/all") as unit:
            return run(MemoryFlow(unit, names), *given)

    def clusters(self) -> list[Row]:
        return [
            r for n in self.work.shards for r in pq.read_table(self.work.clusters(n)).to_pylist()
        ]

    def decisions(self) -> list[Row]:
        return [
            r for n in self.work.shards for r in pq.read_table(self.work.decisions(n)).to_pylist()
        ]
