"""Ray shell of recall: seeds and a pool to what is found in every part of it.

Classifier: draw -> (train -> score) per round. BM25: count -> queries -> search -> fuse.
Both end in ``gather``, one unit per part with ``found.parquet``.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from clusters.stage import StageContext
from clusters.units import Unit, Units
from corpus.enrich import bm25, pool
from corpus.enrich.config import RoundsConfig, SearchConfig
from corpus.errors import CorpusError
from corpus.select.budget import cuts, keys_of
from corpus.tables import write_table
from corpus.unit_map import map_units, once
from corpus.value.classifier import Classifier, Example, fit
from corpus.value.config import ClassifierConfig, FastTextConfig, Seed
from corpus.value.examples import is_held, order_of
from corpus.value.features import classifier_text

SEEDS_NAME = "seeds.parquet"
SEED_CHARS = 20_000
_POOL = Seed(pool="random")
_FUSED = "fused.parquet"
_QUERIES = "queries.npz"


class Search:
    """One search of a pool. Unit names start with ``prefix``."""

    def __init__(
        self,
        context: StageContext,
        stage: str,
        config: SearchConfig,
        *,
        parts: dict[str, Path],
        sources: tuple[str, ...],
        prefix: str = "",
    ) -> None:
        self.context = context
        self.stage = stage
        self.config = config
        self.parts = parts
        self.sources = sources
        """Sources of the pool that the seeds come from: no random negative is of these."""
        self.prefix = prefix
        self.units = context.out.units

    def run(self, seeds: Path, taken: dict[str, list[Path]] | None = None) -> dict[str, Any]:
        """Search; afterwards ``found(part)`` holds what was found. Returns the report.

        Args:
            seeds: a table TEXTS.
            taken: part -> tables whose uids are not found again.
        """
        report: dict[str, Any] = {"seeds": pq.read_metadata(seeds).num_rows}
        limit = None
        if self.config.classifies:
            report["rounds"] = self._rounds(seeds)
            limit = self._limit()
        if self.config.searches:
            report["bm25"] = self._bm25(seeds)
        last = f"{self.prefix}score-{self.config.rounds.rounds - 1}"
        arguments = {
            "parts": self.parts,
            "units": self.units,
            "scored": last if self.config.classifies else None,
            "fused": self._scratch("fuse/all", _FUSED) if self.config.searches else None,
            "min_score": self.config.rounds.min_score,
            "limit": limit,
            "taken": taken or {},
            "seed": self.context.seed,
        }
        self.each_part("gather", _gather, arguments)
        return report

    def found(self, part: str) -> Path:
        """What was found in one part."""
        return self._scratch(f"gather/{part}", pool.FOUND_NAME)

    def draw(self, step: str, count: int, max_chars: int, *, inside: bool) -> list[Path]:
        """Train documents of smallest hash: of the seeds' sources, or of all others."""
        arguments = {
            "parts": self.parts,
            "count": count,
            "max_chars": max_chars,
            "sources": self.sources,
            "inside": inside,
        }
        self.each_part(step, _draw, arguments)
        return [self._scratch(f"{step}/{part}", pool.DRAWN_NAME) for part in self.parts]

    def once(self, step: str, make: Callable[[Unit], None]) -> None:
        """A step of one unit, done by the driver."""
        once(self.units, f"{self.stage}.{self.prefix}{step}", make)

    def each_part(self, step: str, work: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """A step of one unit per part of the pool."""
        return map_units(
            self.units,
            f"{self.stage}.{self.prefix}{step}",
            list(self.parts),
            work,
            arguments,
            workers=self.config.workers,
            progress=self.context.progress,
        )

    def _scratch(self, unit: str, name: str) -> Path:
        return self.units.scratch(self.prefix + unit, name)

    def _stats(self, unit: str) -> dict[str, Any]:
        return self.units.published(self.prefix + unit).stats

    def _rounds(self, seeds: Path) -> list[dict[str, Any]]:
        rounds = self.config.rounds
        drawn = self.draw("draw", rounds.max_examples, rounds.max_chars, inside=False)
        for number in range(rounds.rounds):
            before = [f"score-{number - 1}/{part}" for part in self.parts]
            make = partial(
                _train,
                seeds=seeds,
                drawn=drawn,
                surest=[self._scratch(n, pool.SUREST_NAME) for n in before] if number else [],
                scored=[self._scratch(n, pool.SCORES_NAME) for n in before] if number else [],
                config=rounds,
            )
            self.once(f"train-{number}", make)
            folder = self._scratch(f"train-{number}/all", "recall/model.bin").parent
            arguments = {"parts": self.parts, "folder": folder, "config": rounds}
            self.each_part(f"score-{number}", _score, arguments)
        return [self._round(number) for number in range(rounds.rounds)]

    def _round(self, number: int) -> dict[str, Any]:
        report = self._stats(f"train-{number}/all")
        parts = [self._stats(f"score-{number}/{p}") for p in self.parts]
        recalled: Counter[str] = Counter()
        for stats in parts:
            recalled.update(stats["recalled"])
        return {
            "round": number + 1,
            **report,
            "recalled": sum(recalled.values()),
            "recalled_by_source": dict(sorted(recalled.items())),
        }

    def _limit(self) -> int | None:
        """The budget key below which the best ``max_share`` of the pool's documents lie."""
        share = self.config.rounds.max_share
        if share is None:
            return None
        last = f"score-{self.config.rounds.rounds - 1}"
        paths = [self._scratch(f"{last}/{part}", pool.SCORES_NAME) for part in self.parts]
        documents = sum(pq.read_metadata(path).num_rows for path in paths)
        stream = partial(_score_keys, paths, self.context.seed)
        return cuts(stream, {"": int(share * documents)})[""]

    def _bm25(self, seeds: Path) -> dict[str, Any]:
        arguments = {"parts": self.parts, "seeds": seeds, "max_chars": self.config.bm25.max_chars}
        self.each_part("count", _count, arguments)
        self.once("queries", self._queries_unit(seeds))
        stats = self._stats("queries/all")
        arguments = {
            "units": self.units,
            "counted": f"{self.prefix}count",
            "queries": self._scratch("queries/all", _QUERIES),
            "average": stats["average"],
            "config": self.config.bm25,
        }
        self.each_part("search", _search, arguments)
        self.once("fuse", self._fuse)
        return {**stats, **self._stats("fuse/all")}

    def _queries_unit(self, seeds: Path) -> Callable[[Unit], None]:
        def make(unit: Unit) -> None:
            counted = [f"count/{part}" for part in self.parts]
            stats = [self._stats(name) for name in counted]
            documents = sum(s["documents"] for s in stats)
            average = sum(s["lengths"] for s in stats) / max(documents, 1)
            paths = [self._scratch(name, "frequencies.npy") for name in counted]
            frequencies = np.sum([np.load(path) for path in paths], axis=0)
            vocabulary = _vocabulary(seeds, self.config.bm25.max_chars)
            queries = vocabulary.queries(frequencies, documents, self.config.bm25.terms)
            sparse.save_npz(unit.scratch(_QUERIES), queries)
            terms = len(vocabulary.terms)
            unit.stats.update(documents=documents, average=average, vocabulary=terms)

        return make

    def _fuse(self, unit: Unit) -> None:
        config = self.config.bm25
        hits = pool.HITS.empty_table()
        for part in self.parts:
            more = pq.read_table(self._scratch(f"search/{part}", pool.HITS_NAME))
            hits = pool.best_hits(pa.concat_tables([hits, more]), config.top)
        seeds, uids, scores = (hits[name].to_numpy() for name in ("seed", "uid", "score"))
        fused = bm25.fuse(seeds, uids, scores, config)
        kept = {uid: score for uid, (score, seeds) in fused.items() if seeds >= config.min_seeds}
        table = pa.table({"uid": list(kept), "score": list(kept.values())}, schema=pool.SCORES)
        write_table(unit.scratch(_FUSED), table)
        unit.stats.update(hits=len(hits), found=len(fused), recalled=len(kept))


def _draw(unit: Unit, name: str, parts: dict[str, Path], **how: Any) -> None:
    pool.draw(unit, parts[name], **how)


def _train(
    unit: Unit,
    seeds: Path,
    drawn: list[Path],
    surest: list[Path],
    scored: list[Path],
    config: RoundsConfig,
) -> None:
    """One round's classifier: seeds and the surest of the pool against random documents.

    After the first round a random document that the round before recalled is no negative: the
    pool holds what is sought (reliable negatives, Liu et al. 2003).
    """
    promoted = _best(surest, config.promote)
    positives = _examples(pa.concat_tables([pq.read_table(seeds), promoted]), config)
    room = min(config.max_examples, int(config.negatives_per_positive * len(positives)))
    negatives = _examples(_drawn(drawn, scored, config.min_score, room), config)
    shared = {name: getattr(config, name) for name in FastTextConfig.model_fields}
    asked = ClassifierConfig(
        **shared, name="recall", positives=[_POOL], negatives=[_POOL], source_check=False
    )
    folder = unit.scratch("recall/model.bin").parent
    report = fit((positives, negatives), asked, folder)
    if report.skipped is not None:
        raise CorpusError(
            f"recall has too little to train on: {report.skipped}; give more seeds or a larger "
            "pool, or lower rounds.min_examples"
        )
    unit.stats.update(report.model_dump(exclude={"name", "skipped"}))
    sources = Counter(promoted["source"].to_pylist())
    unit.stats.update(promoted=len(promoted), promoted_by_source=dict(sorted(sources.items())))


def _best(paths: list[Path], count: int) -> pa.Table:
    """The best by (score, uid) over all parts, bounded."""
    table = pool.TEXTS.empty_table()
    for path in paths:
        table = pa.concat_tables([table, pq.read_table(path)])
        table = table.sort_by([("score", "descending"), ("uid", "ascending")]).slice(0, count)
    return table


def _drawn(paths: list[Path], scored: list[Path], min_score: float, count: int) -> pa.Table:
    """The documents of smallest hash over all parts, bounded, that were not recalled before."""
    table = pool.TEXTS.empty_table()
    for place, path in enumerate(paths):
        more = pq.read_table(path)
        if scored:
            recalled = pq.read_table(scored[place], filters=pc.field("score") >= min_score)
            known = recalled["uid"].combine_chunks()
            more = more.filter(pc.invert(pc.is_in(more["uid"], value_set=known)))
        table = pa.concat_tables([table, more])
        order = np.argsort(order_of(table["uid"].to_numpy()), kind="stable")[:count]
        table = table.take(pa.array(order))
    return table


def _examples(table: pa.Table, config: RoundsConfig) -> list[Example]:
    order = order_of(table["uid"].to_numpy())
    held = is_held(order, config.heldout_share)
    rows = zip(order.tolist(), table["source"].to_pylist(), table["text"].to_pylist(),
               held.tolist(), strict=True)  # fmt: skip
    read = [Example(o, s, classifier_text(t, config.max_chars), h) for o, s, t, h in rows]
    return [example for example in read if example.text]


@lru_cache(maxsize=4)
def _classifier(folder: Path, max_chars: int) -> Classifier:
    return Classifier.load(folder, max_chars)


def _score(
    unit: Unit, name: str, parts: dict[str, Path], folder: Path, config: RoundsConfig
) -> None:
    classifier = _classifier(folder, config.max_chars)
    values = pool.score(unit, parts[name], classifier, config.promote, config.promote_min_score)
    sources = pq.read_table(parts[name], columns=["source"])["source"]
    recalled = sources.filter(pa.array(values >= config.min_score))
    unit.stats["recalled"] = dict(sorted(Counter(recalled.to_pylist()).items()))


def _score_keys(
    paths: list[Path], seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for path in paths:
        table = pq.read_table(path)
        keys = keys_of(table["score"].to_numpy(), table["uid"].to_numpy(), True, seed)
        yield np.full(len(table), "", object), keys, np.ones(len(table), np.int64)


@lru_cache(maxsize=1)
def _vocabulary(seeds: Path, max_chars: int) -> bm25.Vocabulary:
    return bm25.Vocabulary(pq.read_table(seeds)["text"].to_pylist(), max_chars)


def _count(unit: Unit, name: str, parts: dict[str, Path], seeds: Path, max_chars: int) -> None:
    pool.count(unit, parts[name], _vocabulary(seeds, max_chars))


def _search(
    unit: Unit, name: str, units: Units, counted: str, queries: Path, average: float, config: Any
) -> None:
    record = units.published(f"{counted}/{name}")
    blocks = [units.resolve(p) for n, p in sorted(record.scratch.items()) if n.startswith("block-")]
    pool.search(unit, blocks, sparse.load_npz(queries), average, config)


def _gather(
    unit: Unit,
    name: str,
    parts: dict[str, Path],
    units: Units,
    scored: str | None,
    fused: Path | None,
    min_score: float,
    limit: int | None,
    taken: dict[str, list[Path]],
    seed: int,
) -> None:
    scores = units.scratch(f"{scored}/{name}", pool.SCORES_NAME) if scored else None
    found: dict[int, float] = {}
    if fused is not None:
        table = pq.read_table(fused)
        found = dict(zip(table["uid"].to_pylist(), table["score"].to_pylist(), strict=True))
    before = (pq.read_table(path, columns=["uid"])["uid"] for path in taken.get(name, []))
    uids = frozenset(uid for column in before for uid in column.to_pylist())
    pool.gather(unit, parts[name], scores, min_score, limit, found, uids, seed)
