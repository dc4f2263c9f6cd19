"""Stage ``corpus.recall``: from a few hundred seeds to similar text in a large pool."""

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clusters.stage import StageContext
from clusters.units import Unit
from corpus.enrich.config import RecallConfig
from corpus.enrich.hosts import count_hosts, merge_hosts
from corpus.enrich.pool import batches
from corpus.enrich.report import recall_page
from corpus.enrich.search import SEED_CHARS, SEEDS_NAME, Search
from corpus.enrich.seeds import write_seeds
from corpus.enrich.shares import split_amounts
from corpus.errors import CorpusError
from corpus.ledger import Amount
from corpus.selection import SUMMARY_NAME, DomainShare, Summary, part_name, schema

_STAGE = "corpus.recall"
REPORT_NAME = "recall.json"
PAGE_NAME = "recall.md"
_EXAMPLE_CHARS = 200


def recall(context: StageContext) -> dict[str, Any]:
    """Run the stage.

    Raises:
        CorpusError: there are no seeds or too few, or nothing is recalled.
    """
    config: RecallConfig = context.config
    corpus = context.input("corpus")
    parts = {path.stem: path for path in corpus.files("documents/")}
    sources = tuple(seed.source for seed in config.seeds if seed.source is not None)
    search = Search(context, _STAGE, config, parts=parts, sources=sources)
    report = search.run(_seeds(search, config))
    found = {part: search.found(part) for part in parts}
    arguments = {"parts": parts, "found": found, "config": config}
    stats = search.each_part("write", _write_unit, arguments)
    return _close(context, config, report, stats)


def _seeds(search: Search, config: RecallConfig) -> Path:
    drawn: list[Path] = []
    if search.sources:
        drawn = search.draw("seeds-of-pool", config.max_seeds, SEED_CHARS, inside=True)
    files = [seed for seed in config.seeds if seed.path is not None]
    search.once(
        "seeds",
        partial(
            write_seeds,
            name=SEEDS_NAME,
            files=files,
            drawn=drawn,
            count=config.max_seeds,
            max_chars=SEED_CHARS,
        ),
    )
    return search.units.scratch("seeds/all", SEEDS_NAME)


def _write_unit(
    unit: Unit, name: str, parts: dict[str, Path], found: dict[str, Path], config: RecallConfig
) -> None:
    table = pq.read_table(found[name])
    domain = pa.array([config.domain] * len(table), pa.string())
    columns = [table["uid"], domain, table["score"]]
    path = unit.path(part_name(parts[name]))
    pq.write_table(pa.table(columns, schema=schema()), path, compression="zstd")
    scores = dict(zip(table["uid"].to_pylist(), table["score"].to_pylist(), strict=True))
    unit.stats |= split_amounts(table) | _look(parts[name], scores, config.examples)


def _look(part: Path, scores: dict[int, float], examples: int) -> dict[str, Any]:
    """Documents and recalled documents by source and host, and the best examples."""
    pool: Counter[str] = Counter()
    recalled: Counter[str] = Counter()
    urls: list[tuple[str | None, bool]] = []
    shown: list[dict[str, Any]] = []
    for batch in batches(part, "uid", "id", "url", "source"):
        for row in batch.to_pylist():
            inside = row["uid"] in scores
            pool[row["source"]] += 1
            recalled[row["source"]] += inside
            urls.append((row["url"], inside))
            if inside:
                score = round(scores[row["uid"]], 6)
                shown.append({k: row[k] for k in ("uid", "id", "source", "url")} | {"score": score})
                shown = sorted(shown, key=lambda r: (-r["score"], r["uid"]))[:examples]
    sources = {name: [pool[name], recalled[name]] for name in sorted(pool)}
    return {"sources": sources, "hosts": count_hosts(urls), "examples": _starts(part, shown)}


def _starts(part: Path, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = {row["uid"]: row for row in shown}
    for batch in batches(part, "uid", "text") if wanted else ():
        for uid, text in zip(batch["uid"].to_pylist(), batch["text"], strict=True):
            if uid in wanted:
                wanted[uid]["text"] = text.as_py()[:_EXAMPLE_CHARS]
    return shown


def _close(
    context: StageContext, config: RecallConfig, report: dict[str, Any], stats: list[dict[str, Any]]
) -> dict[str, Any]:
    train, validation = _total(stats, "train"), _total(stats, "validation")
    if train.documents == 0:
        raise CorpusError(
            f"{context.input('corpus').directory}: no train document is like the seeds; lower "
            "rounds.min_score or bm25.min_seeds, or give more seeds"
        )
    share = DomainShare(train=train, validation=validation, weight=1, repeats=1.0)
    summary = Summary(weights={config.domain: 1}, domains={config.domain: share})
    report |= {
        "recalled": {
            "documents": train.documents + validation.documents,
            "bytes": train.bytes + validation.bytes,
        },
        "sources": _sources(stats),
        "hosts": merge_hosts(
            (unit["hosts"] for unit in stats), config.host_share, config.min_host_documents
        ),
        "examples": sorted(
            (row for unit in stats for row in unit["examples"]),
            key=lambda row: (-row["score"], row["uid"]),
        )[: config.examples],
    }
    for name, text in (
        (SUMMARY_NAME, summary.model_dump_json(indent=1)),
        (REPORT_NAME, json.dumps(report, ensure_ascii=False, indent=1)),
        (PAGE_NAME, recall_page(report)),
    ):
        context.out.path(name).write_text(text.rstrip() + "\n", encoding="utf-8")
    documents = sum(seen["documents"] for seen in report["sources"])
    return {"in": {"seeds": report["seeds"], "documents": documents}, "out": report["recalled"]}


def _total(stats: list[dict[str, Any]], split: str) -> Amount:
    return Amount(
        documents=sum(unit[split][0] for unit in stats), bytes=sum(unit[split][1] for unit in stats)
    )


def _sources(stats: list[dict[str, Any]]) -> list[dict[str, Any]]:
    total: Counter[str] = Counter()
    recalled: Counter[str] = Counter()
    for unit in stats:
        for name, (documents, found) in unit["sources"].items():
            total[name] += documents
            recalled[name] += found
    return [
        {"source": name, "documents": total[name], "recalled": recalled[name],
         "share": round(recalled[name] / total[name], 4)}
        for name in sorted(total)
    ]  # fmt: skip
