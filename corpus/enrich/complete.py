"""Stage ``corpus.complete``: which domains a corpus is short of, filled from a pool.

The domain that lacks most is filled first; a document is taken for one domain only. What is
found for a domain is taken best first until its shortfall is filled.
"""

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clusters.failpoints import failpoint
from clusters.stage import StageContext
from clusters.units import Unit
from contracts.documents import TRAIN
from corpus.enrich.config import CompleteConfig
from corpus.enrich.pool import FOUND, TEXTS, batches
from corpus.enrich.report import complete_page
from corpus.enrich.search import SEED_CHARS, SEEDS_NAME, Search
from corpus.enrich.seeds import smallest, write_seeds
from corpus.enrich.shares import shortfalls, split_amounts
from corpus.errors import CorpusError
from corpus.ledger import Amount
from corpus.select.budget import cuts, keys_of
from corpus.select.thresholds import domains_of
from corpus.select.weights import integer_weights
from corpus.selection import SUMMARY_NAME, DomainShare, Summary, part_name, schema
from corpus.tables import write_table
from corpus.unit_map import map_units
from corpus.value.examples import order_of

_STAGE = "corpus.complete"
REPORT_NAME = "completion.json"
PAGE_NAME = "completion.md"
_SAMPLE_NAME = "sample.parquet"
_TAKEN_NAME = "taken.parquet"


def complete(context: StageContext) -> dict[str, Any]:
    """Run the stage.

    Raises:
        CorpusError: a domain that is short has no seeds, or too few.
    """
    return _Complete(context).run()


class _Complete:
    """One run of the stage."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.config: CompleteConfig = context.config
        self.units = context.out.units
        self.have = {path.stem: path for path in context.input("corpus").files("documents/")}
        self.pool = {path.stem: path for path in context.input("pool").files("documents/")}

    def run(self) -> dict[str, Any]:
        """Count, fill the short domains one after the other, write the selection."""
        rows = shortfalls(self._sizes(), self.config.target, self.config.total_bytes)
        short = sorted(
            (row for row in rows if row["short_bytes"]),
            key=lambda row: (-row["short_bytes"], row["domain"]),
        )
        taken: dict[str, list[Path]] = {part: [] for part in self.pool}
        for number, row in enumerate(short):
            row |= self._fill(number, row, taken)
        arguments = {
            "parts": self.pool,
            "taken": taken,
            "domains": [row["domain"] for row in short],
        }
        written = self._map("write", list(self.pool), _write_unit, arguments)
        for row in rows:
            row["found_bytes"] = row.get("found_bytes", 0)
            row["still_short_bytes"] = max(row["short_bytes"] - row["found_bytes"], 0)
        return self._close(rows, short, written)

    def _sizes(self) -> Counter[str]:
        arguments = {"parts": self.have, "config": self.config}
        sizes: Counter[str] = Counter()
        for stats in self._map("measure", list(self.have), _measure_unit, arguments):
            sizes.update(stats["bytes"])
        return sizes

    def _fill(self, number: int, row: dict[str, Any], taken: dict[str, list[Path]]) -> dict:
        """Search the pool for one domain; adds what is taken to ``taken``."""
        prefix = f"d{number}-"
        search = Search(
            self.context, _STAGE, self.config, parts=self.pool, sources=(), prefix=prefix
        )
        search.once("seeds", partial(self._seeds, domain=row["domain"]))
        seeds = self.units.scratch(f"{prefix}seeds/all", SEEDS_NAME)
        report = search.run(seeds, {part: list(paths) for part, paths in taken.items()})
        found = {part: search.found(part) for part in self.pool}
        search.once(
            "cut", partial(self._cut, found=list(found.values()), budget=row["short_bytes"])
        )
        cut = self.units.published(f"{prefix}cut/all").stats["cut"]
        arguments = {"found": found, "cut": cut, "seed": self.context.seed}
        stats = search.each_part("take", _take_unit, arguments)
        for part in self.pool:
            taken[part].append(self.units.scratch(f"{prefix}take/{part}", _TAKEN_NAME))
        return {
            "found_documents": sum(unit["train"][0] for unit in stats),
            "found_bytes": sum(unit["train"][1] for unit in stats),
            "validation": [sum(unit["validation"][i] for unit in stats) for i in (0, 1)],
            "search": report,
        }

    def _seeds(self, unit: Unit, domain: str) -> None:
        given = self.config.seeds.get(domain)
        samples = [self.units.scratch(f"measure/{part}", _SAMPLE_NAME) for part in self.have]
        mine = unit.scratch("sampled.parquet")
        table = TEXTS.empty_table()
        for path in samples:
            more = pq.read_table(path, filters=pc.equal(pc.field("domain"), domain))
            more = more.drop_columns(["domain"])
            table = smallest(pa.concat_tables([table, more]), self.config.max_seeds)
        write_table(mine, table)
        try:
            write_seeds(
                unit,
                SEEDS_NAME,
                [given] if given else [],
                [mine],
                self.config.max_seeds,
                SEED_CHARS,
            )
        except CorpusError as error:
            raise CorpusError(
                f"target.{domain}: the corpus holds nothing of this domain to search with "
                f"({error}); name a file of examples in seeds.{domain}"
            ) from error

    def _cut(self, unit: Unit, found: list[Path], budget: int) -> None:
        def stream():  # type: ignore[no-untyped-def]  # the shape of budget.Batches
            for path in found:
                table = pq.read_table(path)
                table = table.filter(table["train"])
                keys = _keys(table, self.context.seed)
                yield np.full(len(table), "", object), keys, table["bytes"].to_numpy()

        unit.stats["cut"] = cuts(stream, {"": budget})[""]

    def _close(
        self, rows: list[dict[str, Any]], short: list[dict[str, Any]], written: list[dict]
    ) -> dict[str, Any]:
        found = [row for row in short if row["found_documents"]]
        total = sum(row["found_bytes"] for row in found)
        weights = integer_weights({r["domain"]: r["found_bytes"] / total for r in found})
        domains = {}
        for row in sorted(found, key=lambda row: row["domain"]):
            documents, size = row["validation"]
            domains[row["domain"]] = DomainShare(
                train=Amount(documents=row["found_documents"], bytes=row["found_bytes"]),
                validation=Amount(documents=documents, bytes=size),
                weight=weights[row["domain"]],
                repeats=1.0,
            )
        summary = Summary(weights=weights, domains=domains)
        report = {"domains": rows}
        for name, text in (
            (SUMMARY_NAME, summary.model_dump_json(indent=1)),
            (REPORT_NAME, json.dumps(report, ensure_ascii=False, indent=1)),
            (PAGE_NAME, complete_page(report)),
        ):
            self.context.out.path(name).write_text(text.rstrip() + "\n", encoding="utf-8")
        return {
            "in": {"short_bytes": sum(row["short_bytes"] for row in rows)},
            "out": {
                "documents": sum(unit["documents"] for unit in written),
                "bytes": total,
                "still_short_bytes": sum(row["still_short_bytes"] for row in rows),
            },
        }

    def _map(self, step: str, names: list[str], work: Any, arguments: dict[str, Any]) -> list[dict]:
        stats = map_units(
            self.units,
            f"{_STAGE}.{step}",
            names,
            work,
            arguments,
            workers=self.config.workers,
            progress=self.context.progress,
        )
        failpoint(f"{_STAGE}.after_{step}")
        return stats


def _measure_unit(unit: Unit, name: str, parts: dict[str, Path], config: CompleteConfig) -> None:
    """Train bytes by domain, and the texts of smallest hash of each domain of the target."""
    sizes: Counter[str] = Counter()
    sampled = TEXTS.append(pa.field("domain", pa.string())).empty_table()
    buckets = [column for column in config.domains.by if column not in ("source", "lang")]
    for batch in batches(parts[name], "uid", "split", "source", "lang", "text", *buckets):
        domains = domains_of(batch, config.domains)
        train = pc.equal(batch["split"], TRAIN).to_numpy(zero_copy_only=False)
        lengths = np.asarray(pc.binary_length(batch["text"]), np.int64)
        for domain in sorted(set(domains[train].tolist())):
            sizes[domain] += int(lengths[train & (domains == domain)].sum())
        wanted = np.flatnonzero(train & np.isin(domains, list(config.target)))
        rows = batch.take(pa.array(wanted))
        more = pa.table(
            {
                "uid": rows["uid"],
                "source": rows["source"],
                "text": pc.utf8_slice_codeunits(rows["text"], 0, SEED_CHARS),
                "score": pa.nulls(len(rows), pa.float32()),
                "domain": pa.array(domains[wanted], pa.string()),
            },
            schema=sampled.schema,
        )
        table = pa.concat_tables([sampled, more])
        order = np.argsort(order_of(table["uid"].to_numpy()), kind="stable")
        names = table["domain"].to_numpy(zero_copy_only=False)[order]
        kept = [order[names == domain][: config.max_seeds] for domain in sorted(set(names))]
        sampled = table.take(pa.array(np.concatenate([np.zeros(0, np.int64), *kept])))
    write_table(unit.scratch(_SAMPLE_NAME), sampled)
    unit.stats["bytes"] = dict(sorted(sizes.items()))


def _keys(table: pa.Table, seed: int) -> np.ndarray:
    return keys_of(table["score"].to_numpy(), table["uid"].to_numpy(), True, seed)


def _take_unit(unit: Unit, name: str, found: dict[str, Path], cut: int | None, seed: int) -> None:
    """The best of what was found; held-out documents cost no budget but stand the same test."""
    table = pq.read_table(found[name])
    if cut is not None:
        table = table.filter(pa.array(_keys(table, seed) < np.uint64(cut)))
    write_table(unit.scratch(_TAKEN_NAME), table)
    unit.stats |= split_amounts(table)


def _write_unit(
    unit: Unit,
    name: str,
    parts: dict[str, Path],
    taken: dict[str, list[Path]],
    domains: list[str],
) -> None:
    """One part of the selection, in the row order of the pool's documents."""
    names = pa.field("domain", pa.string())
    tables = [FOUND.append(names).empty_table()]
    for domain, path in zip(domains, taken[name], strict=True):
        table = pq.read_table(path)
        tables.append(table.append_column(names, pa.array([domain] * len(table), pa.string())))
    table = pa.concat_tables(tables)
    place = {
        uid: row
        for row, uid in enumerate(pq.read_table(parts[name], columns=["uid"])["uid"].to_pylist())
    }
    order = np.argsort([place[uid] for uid in table["uid"].to_pylist()], kind="stable")
    table = table.take(pa.array(order.astype(np.int64)))
    columns = [table[column] for column in ("uid", "domain", "score")]
    path = unit.path(part_name(parts[name]))
    pq.write_table(pa.table(columns, schema=schema()), path, compression="zstd")
    unit.stats["documents"] = len(table)
