"""Runs one stage of this room in a process of its own, so that a test can kill it.

Usage: ``python -m tests.evaluation.child STAGE CONFIG_JSON INPUTS_JSON STORE``; prints the
digest of what was made.
"""

import json
import sys
from pathlib import Path

from clusters.artifact import Artifact
from clusters.connect import ClusterConfig, connect
from clusters.execute import run_stage
from clusters.registry import resolve


def main() -> None:
    name, config_json, inputs_json, store = sys.argv[1:]
    stage = resolve(name)
    config = stage.config.model_validate_json(config_json)
    inputs = {
        role: [Artifact.open(directory) for directory in directories]
        for role, directories in json.loads(inputs_json).items()
    }
    with connect("embedded", ClusterConfig(num_cpus=2, object_store_bytes=100 << 20)):
        made = run_stage(stage, config, inputs, store=Path(store), name="scores")
    print(made.manifest.digest)


if __name__ == "__main__":
    main()
