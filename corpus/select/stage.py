"""Stage ``corpus.select``: judge (per part) -> cut (with a budget) -> write (per part)."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clusters.artifact import Artifact
from clusters.stage import StageContext
from clusters.units import Unit, Units
from corpus.errors import CorpusError
from corpus.ledger import PASSED, Amount, Tally
from corpus.select.budget import cuts
from corpus.select.config import SelectConfig
from corpus.select.judge import PASSED_NAME, columns_of, judge, steps_of
from corpus.select.weights import (
    caps_of,
    integer_weights,
    repeats_of,
    rounding_notes,
    shares_of,
)
from corpus.selection import SUMMARY_NAME, DomainShare, Selection, Summary, part_name, schema
from corpus.unit_map import map_units, once

_STAGE = "corpus.select"
_ALL = ""
"""The one domain that a budget over all domains knows."""


def select(context: StageContext) -> dict[str, Any]:
    """Run the stage.

    Raises:
        CorpusError: a column is missing, weights fit no domain, or nothing is selected.
    """
    return _Select(context).run()


class _Select:
    """One run of the stage."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.config: SelectConfig = context.config
        self.units = context.out.units
        self.corpus = context.input("corpus")
        self.parts = {path.stem: path for path in self.corpus.files("documents/")}
        self.recalled = [Selection.open(a) for a in context.inputs.get("recalled", [])]

    def run(self) -> dict[str, Any]:
        """All steps, then the summary."""
        self._check()
        judged = self._map("judge", _judge_unit, self._judging())
        self._cut()
        written = self._map("write", _write_unit, {"parts": self.parts, "units": self.units})
        tally = Tally()
        for stats in (*judged, *written):
            tally.merge(stats["tally"])
        sizes = _sizes(written)
        if not any(amounts["train"].documents for amounts in sizes.values()):
            raise CorpusError(
                f"{self.corpus.directory}: no train document is selected; loosen thresholds "
                f"({', '.join(self.config.thresholds) or 'none'}), weights or budget"
            )
        summary = self._summary(sizes, tally)
        path = self.context.out.path(SUMMARY_NAME)
        path.write_text(summary.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return _stats(summary)

    def _check(self) -> None:
        for selection in self.recalled:
            selection.check_of(self.corpus)
        known = pq.read_schema(next(iter(self.parts.values()))).names
        for name in columns_of(self.config):
            if name not in known:
                raise CorpusError(
                    f"{self.corpus.directory}: documents have no column {name!r} that the "
                    f"selection asks for; they have: {', '.join(known)}"
                )

    def _judging(self) -> dict[str, Any]:
        return {
            "parts": self.parts,
            "config": self.config,
            "recalled": [selection.artifact for selection in self.recalled],
            "seed": self.context.seed,
        }

    def _cut(self) -> None:
        def make(unit: Unit) -> None:
            unit.stats["cuts"] = self._cuts() if self.config.budget else {}

        once(self.units, f"{_STAGE}.cut", make)

    def _cuts(self) -> dict[str, int | None]:
        budget = self.config.budget
        assert budget is not None
        paths = [_passed(self.units, name) for name in self.parts]
        if not budget.per_domain:
            return cuts(partial(_stream, paths, True), {_ALL: budget.total})
        sizes: Counter[str] = Counter()
        for domains, _, lengths in _stream(paths, False):
            for domain in np.unique(domains).tolist():
                sizes[domain] += int(lengths[domains == domain].sum())
        shares, _ = shares_of(sizes, self.config.mixture)
        limits = {domain: int(share * budget.total) for domain, share in shares.items()}
        return cuts(partial(_stream, paths, False), limits)

    def _summary(self, sizes: dict[str, dict[str, Amount]], tally: Tally) -> Summary:
        train = {name: amounts["train"].bytes for name, amounts in sizes.items()}
        mixture = self.config.mixture
        shares, notes = shares_of(train, mixture)
        # Where the cap holds for no domain, rounding has none to keep.
        weights = integer_weights(shares, None if notes else caps_of(train, mixture))
        repeats = repeats_of(weights, train, mixture)
        notes = notes or rounding_notes(repeats, weights, mixture)
        return Summary(
            weights=weights,
            domains={
                name: DomainShare(
                    train=amounts["train"],
                    validation=amounts["validation"],
                    weight=weights.get(name, 0),
                    repeats=round(repeats.get(name, 0.0), 4),
                )
                for name, amounts in sorted(sizes.items())
            },
            steps=[tally.step(name) for name in steps_of(self.config)],
            notes=notes,
        )

    def _map(self, step: str, work: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        return map_units(
            self.units,
            f"{_STAGE}.{step}",
            list(self.parts),
            work,
            arguments,
            workers=self.config.workers,
            progress=self.context.progress,
        )


def _judge_unit(
    unit: Unit,
    name: str,
    parts: dict[str, Path],
    config: SelectConfig,
    recalled: list[Artifact],
    seed: int,
) -> None:
    known: dict[int, str] | None = {} if recalled else None
    for artifact in recalled:
        # What an earlier selection took stays in its domain.
        known = Selection.open(artifact).part(parts[name].name) | (known or {})
    judge(unit, parts[name], config, known, seed)


def _write_unit(unit: Unit, name: str, parts: dict[str, Path], units: Units) -> None:
    limits: dict[str, int | None] = units.published("cut/all").stats["cuts"]
    table = pq.read_table(_passed(units, name))
    fits = _fits(table, limits)
    tally = Tally()
    rows = zip(*(table[column].to_pylist() for column in ("source", "lang", "bytes")), strict=True)
    for (source, language, size), kept in zip(rows, fits.tolist(), strict=True):
        tally.add("budget", PASSED if kept else "over_budget", source, language, size)
    kept_table = table.filter(pa.array(fits))
    unit.stats["tally"] = tally.rows()
    unit.stats["sizes"] = _amounts(kept_table)
    score = pa.nulls(len(kept_table), pa.float32())
    columns = [kept_table["uid"], kept_table["domain"], score]
    pq.write_table(
        pa.table(columns, schema=schema()), unit.path(part_name(parts[name])), compression="zstd"
    )


def _fits(table: pa.Table, limits: dict[str, int | None]) -> np.ndarray:
    """Documents below their domain's cut; what is held out costs no budget."""
    fits = np.full(len(table), True)
    if not limits:
        return fits
    keys = table["key"].to_numpy()
    domains = table["domain"].to_numpy(zero_copy_only=False)
    for domain, limit in limits.items():
        if limit is not None:
            inside = (domains == domain) if domain != _ALL else fits | True
            fits[inside & (keys >= np.uint64(limit))] = False
    return fits | ~table["train"].to_numpy(zero_copy_only=False)


def _amounts(table: pa.Table) -> list[list[Any]]:
    grouped = table.group_by(["domain", "train"]).aggregate([("bytes", "sum"), ([], "count_all")])
    columns = ("domain", "train", "count_all", "bytes_sum")
    return sorted(list(row) for row in zip(*(grouped[c].to_pylist() for c in columns), strict=True))


def _sizes(written: list[dict[str, Any]]) -> dict[str, dict[str, Amount]]:
    sizes: dict[str, dict[str, Amount]] = {}
    for stats in written:
        for domain, train, documents, size in stats["sizes"]:
            both = sizes.setdefault(domain, {"train": Amount(), "validation": Amount()})
            amount = both["train" if train else "validation"]
            amount.documents += documents
            amount.bytes += size
    return sizes


def _stream(
    paths: list[Path], together: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(domain, key, bytes) of the train documents that passed, a row group at a time."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1 << 16, columns=["domain", "key", "bytes", "train"]):
                train = batch.filter(batch["train"])
                domains = train["domain"].to_numpy(zero_copy_only=False)
                if together:
                    domains = np.full(len(domains), _ALL, object)
                yield domains, train["key"].to_numpy(), train["bytes"].to_numpy()


def _passed(units: Units, name: str) -> Path:
    return units.scratch(f"judge/{name}", PASSED_NAME)


def _stats(summary: Summary) -> dict[str, Any]:
    first = summary.steps[0].entered
    return {
        "in": {"documents": first.documents, "bytes": first.bytes},
        "out": {
            "documents": sum(
                d.train.documents + d.validation.documents for d in summary.domains.values()
            ),
            "bytes": sum(d.train.bytes + d.validation.bytes for d in summary.domains.values()),
        },
        "weights": summary.weights,
        "dropped": {s.name: {r: a.documents for r, a in s.rejected.items()} for s in summary.steps},
        "notes": summary.notes,
    }
