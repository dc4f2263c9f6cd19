"""Recall and precision of near-duplicate detection on drafts and published articles in Chinese.

python -m benchmarks.corpus.neardup_recall

Every pair of documents of ``neardup/lctt_zh`` with exact Jaccard similarity s >= .8 (character
5-grams, as the sketches see them) should share a cluster. In theory a share 1 - (1 - s^r)^b of
them shares a band (b bands of r rows); clusters can only add to that. Precision: of the pairs
that share a cluster after ``verify: exact``, the share that is linked by pairs of exact
similarity at least .8; beside it the share whose labels name one article. Runs the steps of
corpus.build in one process, without Ray.
"""

import gzip
import json
import os
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report import keep
from clusters.units import Units
from contracts.documents import document_uid
from corpus.config import BuildConfig
from corpus.dedup.components import components
from corpus.dedup.config import DedupConfig
from corpus.dedup.minhash import Sketcher
from corpus.dedup.sketches import Sketches
from corpus.dedup.verify import jaccard
from corpus.exchange import EARLIER, SHARDS, MemoryFlow
from corpus.schemas import CANDIDATES
from corpus.steps.cluster import cluster
from corpus.steps.sketch import sketch
from corpus.workspace import CANDIDATES_NAME, Workspace

SIMILAR = 0.8
GOAL_BELOW_THEORY = 0.02
GOAL_PRECISION = 0.99


def documents(data: Path) -> tuple[list[str], list[str]]:
    """The texts, and the name of the article of each."""
    with gzip.open(data / "neardup" / "lctt_zh.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row["text"] for row in rows], [row["cluster"] for row in rows]


def clusters_of(texts: list[str], dedup: dict[str, Any]) -> np.ndarray:
    """Cluster of every text, u64, by the steps of the build."""
    config = BuildConfig.model_validate(
        {"sources": [{"path": "-", "format": "jsonl", "source": "lctt"}], "dedup": dedup}
    )
    with tempfile.TemporaryDirectory() as folder:
        work = Workspace(Units(Path(folder)), ["00000"])
        rows = [
            {"uid": document_uid("lctt", str(number)), "id": str(number), "source": "lctt",
             "text": text, "bytes": len(text.encode()), "lang": "zh", "lang_score": 1.0}
            for number, text in enumerate(texts)
        ]  # fmt: skip
        with work.units.start("read/00000") as unit:
            table = pa.Table.from_pylist(rows, schema=CANDIDATES)
            pq.write_table(table, unit.scratch(CANDIDATES_NAME))
        with work.units.start("sketch/00000") as unit:
            sketch(unit, work.candidates_file("00000"), config)
        sketches = Sketches(work, config.dedup.bands, config.dedup.rows)
        with work.units.start("clusters/all") as unit:
            flow = MemoryFlow(unit, {SHARDS: work.shards, EARLIER: []})
            cluster(flow, sketches, config, 0, [])
        return pq.read_table(work.clusters("00000"))["cluster"].to_numpy()


def similar_pairs(texts: list[str]) -> dict[tuple[int, int], float]:
    """Every pair that shares a shingle set of at least SIMILAR, with its exact similarity."""
    sketcher = Sketcher(DedupConfig())
    sets = [sketcher.shingles(text, "zh") for text in texts]
    owners = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    values = np.concatenate(sets)
    order = np.argsort(values, kind="stable")
    bounds = np.flatnonzero(np.diff(values[order])) + 1
    close: set[tuple[int, int]] = set()
    for group in np.split(owners[order], bounds):
        if 1 < len(group) <= 50:  # what nearly all documents hold makes no pair similar
            close.update(combinations(sorted(set(group.tolist())), 2))
    found = {pair: jaccard(sets[pair[0]], sets[pair[1]]) for pair in close}
    return {pair: value for pair, value in found.items() if value >= SIMILAR}


def joined(texts: list[str], pairs: dict[tuple[int, int], float]) -> list[int]:
    """Truth by similarity: component of every text over the pairs."""
    links = np.array(list(pairs), np.int64).reshape(-1, 2)
    return components(len(texts), links).tolist()


def precision(clusters: np.ndarray, truth: list[int] | list[str]) -> float:
    """Share of the pairs in one cluster that are one in truth, too."""
    same = [
        (one, other)
        for number in np.unique(clusters)
        for one, other in combinations(np.flatnonzero(clusters == number).tolist(), 2)
    ]
    return sum(truth[one] == truth[other] for one, other in same) / max(len(same), 1)


def main() -> None:
    """Measure and keep."""
    texts, articles = documents(Path(os.environ["INKSTONE_DATA"]))
    pairs = similar_pairs(texts)
    config = DedupConfig()
    plain = clusters_of(texts, {})
    verified = clusters_of(texts, {"verify": "exact", "threshold": SIMILAR})
    found = float(np.mean([plain[one] == plain[other] for one, other in pairs]))
    values = np.array(list(pairs.values()))
    theory = float(np.mean(1 - (1 - values**config.rows) ** config.bands))
    kept = float(np.mean([verified[one] == verified[other] for one, other in pairs]))
    truth = joined(texts, pairs)
    exact = precision(verified, truth)
    keep(
        "corpus-neardup-recall",
        what=f"recall of {len(pairs)} near-duplicate pairs (exact Jaccard >= .8) among "
        f"{len(texts)} Chinese drafts and articles, 14 x 8, character 5-grams",
        ours=round(found, 4),
        unit="recall",
        peer="theory of LSH",
        theirs=round(theory, 4),
        ratio=round(found / theory, 3),
        goal=">= theory - .02; precision after verification >= .99",
        met=bool(found >= theory - GOAL_BELOW_THEORY and exact >= GOAL_PRECISION),
        recall_after_verification=round(kept, 4),
        precision_after_verification=round(exact, 4),
        precision_without=round(precision(plain, truth), 4),
        same_article_after_verification=round(precision(verified, articles), 4),
        same_article_without=round(precision(plain, articles), 4),
    )


if __name__ == "__main__":
    main()
