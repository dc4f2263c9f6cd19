"""A small corpus with every kind of record in it, and a driver that builds it.

``python -m tests.corpus.builder STORE SOURCE WORKERS PARTITIONS`` prints the digest: tests kill it.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from clusters.artifact import Artifact
from clusters.connect import ClusterConfig, connect
from clusters.execute import run_stage
from corpus.config import BuildConfig
from corpus.stages import STAGES

BUILD = next(stage for stage in STAGES if stage.name == "corpus.build")
GLUE = ("the", "of", "and", "to", "that", "with", "have", "be", "in", "is", "for", "by", "from")
STEMS = ("read", "load", "sav", "open", "clos", "count", "merg", "split", "pars", "check")
ENDS = ("ing", "er", "es", "ed", "able")
GERMAN = "Der Hund und die Katze gehen nicht in das Haus, weil es dort keinen Platz gibt. "


def sentences(rng: random.Random, count: int) -> list[str]:
    """English-looking sentences, each different."""
    result = []
    for _ in range(count):
        words = [rng.choice(GLUE) if i % 2 else rng.choice(STEMS) + rng.choice(ENDS)
                 for i in range(14)]  # fmt: skip
        result.append("The " + " ".join(words) + f" value {rng.choice(GLUE)} file.")
    return result


def write_source(folder: Path, rng: random.Random, shards: int = 4, each: int = 50) -> None:
    """JSONL files with documents, copies, near copies, debris and bad lines."""
    folder.mkdir(parents=True)
    texts: list[str] = []
    for shard in range(shards):
        lines = []
        for i in range(each):
            lines.append(json.dumps({"id": f"{shard}-{i}", "text": _text(rng, texts)}))
        lines += ["{broken", json.dumps({"id": f"{shard}-notext"})]
        lines.append(json.dumps({"id": "0-0", "text": "\n".join(sentences(rng, 9))}))
        rng.shuffle(lines)
        (folder / f"shard-{shard}.jsonl").write_text("\n".join(lines) + "\n")


def _text(rng: random.Random, texts: list[str]) -> str:
    kind = rng.random()
    if kind < 0.1 and texts:
        return rng.choice(texts).upper()
    if kind < 0.25 and texts:
        return rng.choice(texts) + "\nOne more line of the text."
    if kind < 0.32:
        return (
            "Der Hund und die Katze gehen nicht in das Haus, weil es dort keinen Platz gibt. " * 3
        )
    if kind < 0.55:
        return "\n".join(f"the value of {rng.random():.3f} | {i} == {i} | 1" for i in range(30))
    texts.append("\n".join(sentences(rng, rng.randint(8, 14))))
    return texts[-1]


def config(folder: Path, **more: Any) -> BuildConfig:
    """A config that exercises every step on so little text."""
    values: dict[str, Any] = {
        "sources": [{"path": str(folder), "format": "jsonl", "source": "made"}],
        "value": {
            "classifiers": [
                {
                    "name": "quality",
                    "min_examples": 10,
                    "dim": 4,
                    "buckets": 1000,
                    "positives": [{"pool": "random", "min_prose_share": 0.5}],
                    "negatives": [
                        {"rejected_by": ["gopher_quality", "gopher_repetition"]},
                        {"debris": True},
                    ],
                }
            ]
        },
        "rules": {"gopher_repetition": {"enabled": False}},
        "split": {"validation_share": 0.2},
        "language": {"keep": {"en": 0.01}},
    }
    return BuildConfig.model_validate(values | more)


def build(store: Path, folder: Path, **more: Any) -> Artifact:
    """Build in this process; needs a connection to Ray."""
    return run_stage(BUILD, config(folder, **more), store=store, seed=3)


if __name__ == "__main__":
    settings = {
        "workers": int(sys.argv[3]),
        "dedup": {"partitions": int(sys.argv[4])},
        "lines": {"enabled": True, "max_documents": 3},
    }
    with connect("embedded", ClusterConfig(num_cpus=2, object_store_bytes=100 << 20)):
        artifact = build(Path(sys.argv[1]), Path(sys.argv[2]), **settings)
    print(artifact.manifest.digest)
