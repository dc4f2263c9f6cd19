"""Our side of benchmarks of deduplication: ``corpus.build`` with nothing but dedup, two workers.

python -m benchmarks.corpus.near_dedup_ours FOLDER STORE
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from clusters.artifact import Artifact
from clusters.connect import ClusterConfig, connect
from clusters.execute import run_stage
from corpus.config import BuildConfig
from corpus.stages import STAGES

OFF = {"enabled": False}


def config(folder: Path) -> BuildConfig:
    """Read, sketch, cluster, write; no rule, no mask and no score."""
    return BuildConfig.model_validate(
        {
            "sources": [{"path": str(folder), "format": "jsonl", "source": "given"}],
            "language": {"keep": []},
            "rules": {
                "gopher_quality": OFF,
                "gopher_repetition": OFF,
                "not_a_document": OFF,
                "languages": {},
            },
            "safety": {"pii": OFF},
            "value": {"measures": False, "classifiers": []},
            "split": {"validation_share": 0},
            "max_document_bytes": 32 << 20,  # the peer has no limit
            "workers": 2,
        }
    )


def build(folder: Path, store: Path) -> Artifact:
    """Run the stage on a Ray of its own."""
    stage = next(stage for stage in STAGES if stage.name == "corpus.build")
    with connect("embedded", ClusterConfig(num_cpus=2)):
        return run_stage(stage, config(folder), store=store)


def kept_ids(artifact: Artifact) -> set[str]:
    """Ids of the documents that stayed."""
    parts = artifact.files("documents/")
    return {id_ for part in parts for id_ in pq.read_table(part, columns=["id"])["id"].to_pylist()}


if __name__ == "__main__":
    made = build(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({"directory": str(made.directory), "stats": made.manifest.stats["out"]}))
