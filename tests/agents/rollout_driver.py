"""A rollout with a Ray of its own: ``python -m tests.agents.rollout_driver CHECKPOINT STORE``."""

import sys
from pathlib import Path

from agents.rollout import RolloutConfig
from agents.stages import STAGES
from clusters.artifact import Artifact
from clusters.connect import ClusterConfig, connect
from clusters.execute import run_stage

ROLLOUT = next(stage for stage in STAGES if stage.name == "agents.rollout")
CONFIG = RolloutConfig(episodes=8, max_turns=3, max_tokens=10, concurrency=2)
SEED = 1


def roll_out(checkpoint: Artifact, store: Path, concurrency: int = CONFIG.concurrency) -> Artifact:
    """Run the stage on the connected Ray."""
    config = CONFIG.model_copy(update={"concurrency": concurrency})
    return run_stage(ROLLOUT, config, {"model": [checkpoint]}, store=store, seed=SEED)


def main() -> None:
    """Run it on an embedded Ray."""
    checkpoint, store = Artifact.open(sys.argv[1]), Path(sys.argv[2])
    with connect("embedded", ClusterConfig(num_cpus=2, object_store_bytes=100 << 20)):
        print(roll_out(checkpoint, store).manifest.digest)


if __name__ == "__main__":
    main()
