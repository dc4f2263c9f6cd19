"""Documentation hidden among novels, found from 300 seeds: precision and recall by method.

python -m benchmarks.corpus.recall [--documents N]

The pool is ``corpus/en_prose`` without the seeds: documents of the Linux Documentation Project
are wanted, novels are not. The peer is BM25 with the same seeds; the goal is ours.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.corpus import classifier_data as data
from benchmarks.report import keep
from clusters.artifact import Artifact
from clusters.config import StageConfig
from clusters.connect import ClusterConfig, connect
from clusters.execute import run_stage
from clusters.registry import resolve
from clusters.stage import Stage, StageContext
from contracts.documents import document_uid, documents_schema
from corpus.enrich.config import RecallConfig
from corpus.selection import Selection

WANTED = "linux_documentation_project"
SEEDS = 300
PARTS = 4
GOAL = 0.95
"""F1 of the classifier."""


class _PoolConfig(StageConfig):
    path: str
    """JSON Lines of documents."""


def _write(context: StageContext) -> dict[str, Any]:
    lines = Path(context.config.path).read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    for part in range(PARTS):
        table = pa.Table.from_pylist(rows[part::PARTS], schema=documents_schema())
        pq.write_table(table, context.out.path(f"documents/part-{part:05d}.parquet"))
    return {}


POOL = Stage(name="corpus.given", config=_PoolConfig, output="corpus", run=_write, needs_ray=False)


def prepare(folder: Path, most: int | None) -> tuple[Path, Path]:
    """(seeds, pool) as JSON Lines; ``most`` documents of each source at most."""
    rng = random.Random(1)
    prose = data.prose()
    for texts in prose.values():
        rng.shuffle(texts)
    seeds = [{"text": text} for text in prose[WANTED][:SEEDS]]
    prose[WANTED] = prose[WANTED][SEEDS:]
    rows = []
    for source, texts in prose.items():
        for number, text in enumerate(texts[:most]):
            uid = document_uid(source, str(number))
            rows.append(
                {"uid": uid, "split": "train", "id": f"{source}-{number}", "source": source,
                 "text": text, "lang": "en", "dup_count": 1, "cluster": uid}
            )  # fmt: skip
    paths = folder / "seeds.jsonl", folder / "pool.jsonl"
    _write_lines(paths[0], seeds)
    _write_lines(paths[1], rows)
    return paths


def _write_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def measure(pool: Artifact, seeds: Path, method: str, store: Path) -> dict[str, Any]:
    """Precision, recall and F1 of one method."""
    config = RecallConfig.model_validate({"seeds": [{"path": str(seeds)}], "method": method})
    started = time.perf_counter()
    artifact = run_stage(resolve("corpus.recall"), config, {"corpus": [pool]}, store=store)
    seconds = time.perf_counter() - started
    sources: dict[int, str] = {}
    found: set[int] = set()
    selection = Selection.open(artifact)
    for part in pool.files("documents/"):
        table = pq.read_table(part, columns=["uid", "source"])
        sources |= zip(table["uid"].to_pylist(), table["source"].to_pylist(), strict=True)
        found |= set(selection.part(part.name))
    wanted = {uid for uid, source in sources.items() if source == WANTED}
    right = len(found & wanted)
    precision, recall = right / max(len(found), 1), right / len(wanted)
    report = json.loads(artifact.path("recall.json").read_text())
    return {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(2 * precision * recall / max(precision + recall, 1e-9), 4),
        "found": len(found),
        "wanted": len(wanted),
        "seconds": round(seconds, 1),
        "rounds": [
            {k: entry[k] for k in ("train_positives", "promoted", "promoted_by_source",
                                   "heldout_auc", "recalled_by_source")}
            for entry in report.get("rounds", [])
        ],
    }  # fmt: skip


def main() -> None:
    """Measure all methods and keep the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, help="of each source at most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds, rows = prepare(folder, options.documents)
        pool = run_stage(POOL, _PoolConfig(path=str(rows)), store=folder / "store")
        with connect("embedded", ClusterConfig(num_cpus=2, object_store_bytes=200 << 20)):
            found = {
                method: measure(pool, seeds, method, folder / "store")
                for method in ("classifier", "bm25", "both")
            }
    ours, theirs = found["classifier"]["f1"], found["bm25"]["f1"]
    keep(
        "corpus-recall",
        what=f"recall of documentation hidden among novels, from {SEEDS} seeds",
        ours=ours,
        unit="F1",
        peer="BM25 with the same seeds",
        theirs=theirs,
        ratio=round(ours / max(theirs, 1e-9), 3),
        goal=f">= {GOAL}",
        met=ours >= GOAL,
        methods=found,
    )


if __name__ == "__main__":
    main()
