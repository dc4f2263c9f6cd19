"""MinHash deduplication in datatrove, all four stages, two workers.

python near_dedup.py FOLDER OUT
"""

import json
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

WORKERS = 2


def main(folder: Path, out: Path) -> None:
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    tasks = len(list(folder.iterdir()))

    def run(name: str, pipeline: list, count: int) -> None:
        LocalPipelineExecutor(
            pipeline=pipeline,
            tasks=count,
            workers=min(WORKERS, count),
            logging_dir=str(out / "logs" / name),
        ).run()

    signatures, buckets, remove = (str(out / name) for name in ("signatures", "buckets", "remove"))
    reader = JsonlReader(str(folder))
    run("1", [reader, MinhashDedupSignature(signatures, config=config)], tasks)
    run("2", [MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets)
    run("3", [MinhashDedupCluster(buckets, remove, config=config)], 1)
    kept = JsonlWriter(str(out / "kept"))
    run("4", [reader, MinhashDedupFilter(remove), kept], tasks)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({"kept": str(Path(sys.argv[2]) / "kept")}))
