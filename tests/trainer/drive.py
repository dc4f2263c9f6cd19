"""A driver to be killed: runs one training stage and prints its digest.

``python -m tests.trainer.drive STAGE WORKERS STORE INPUT_DIRECTORY...``; pretraining takes
``INKSTONE_TEST_STEPS`` steps in ``INKSTONE_TEST_PRECISION`` where these are set.
"""

import contextlib
import os
import sys
from pathlib import Path

from clusters.artifact import Artifact
from clusters.connect import ClusterConfig, connect
from tests.trainer.inputs import Inputs, run_pretrain, run_sft


def main(stage: str, workers: int, store: Path, inputs: list[Artifact]) -> None:
    ray = connect("embedded", ClusterConfig(num_cpus=2, object_store_bytes=100 << 20))
    with ray if workers > 1 else contextlib.nullcontext():
        if stage == "pretrain":
            tokenizer, tokens = inputs
            changes = {
                "steps": int(os.environ.get("INKSTONE_TEST_STEPS", "8")),
                "precision": os.environ.get("INKSTONE_TEST_PRECISION", "bf16"),
            }
            given = Inputs(tokenizer, tokens, tokens)
            made = run_pretrain(given, store, workers=workers, **changes)
        else:
            base, conversations, *replay = inputs
            made = run_sft(
                base, conversations, store, workers=workers, replay=next(iter(replay), None)
            )
    print("digest", made.manifest.digest)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), [Artifact.open(p) for p in sys.argv[4:]])
