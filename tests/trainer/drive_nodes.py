"""A driver on a cluster of several nodes of this machine, one of which goes or comes.

``python -m tests.trainer.drive_nodes SCENE STORE TOKENIZER TOKENS``; SCENE is ``preempted``,
``lost`` or ``grown``. The nodes are real raylets of ``ray.cluster_utils.Cluster``, the head has
room for no worker. Prints the digest.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from clusters.artifact import Artifact
from tests.trainer.inputs import Inputs, run_pretrain

STEPS = {"preempted": 300, "lost": 100, "grown": 1500}
"""A cluster needs seconds to take notice of a node that came."""
EVERY = {"preempted": 300, "lost": 10, "grown": 10}
"""Steps between checkpoints: a node's notice alone makes one before its end."""
GENTLE = {"lr": 3e-4, "warmup_steps": 2, "schedule": "constant"}
"""The first steps are the same whatever their number, and other orders of sums change little."""
NOTICE_SECONDS = 120
"""Between the word that a node goes and its end, at most."""
_SYSTEM = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
"""A dead raylet is noticed within seconds."""


def main(scene: str, store: Path, tokenizer: Artifact, tokens: Artifact) -> None:
    os.environ["RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S"] = "0.2"
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": _SYSTEM}
    )
    cluster.add_node(num_cpus=1 if scene == "grown" else 2)
    if scene != "grown":  # a free one beside the first
        cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    coordinate_often()
    made: list[Artifact] = []
    training = threading.Thread(target=lambda: made.append(train(scene, store, tokenizer, tokens)))
    training.start()
    while not begun(scene, store) and training.is_alive():
        time.sleep(0.02)
    disturb(scene, cluster, store)  # here: nodes are added in a process's main thread only
    training.join()
    print("digest", made[0].manifest.digest)
    ray.shutdown()
    cluster.shutdown()


def train(scene: str, store: Path, tokenizer: Artifact, tokens: Artifact) -> Artifact:
    return run_pretrain(
        Inputs(tokenizer, tokens, tokens),
        store,
        workers=2,
        steps=STEPS[scene],
        checkpoint_every=EVERY[scene],
        validation_every=STEPS[scene],
        precision="fp32",
        optimiser=GENTLE,
        parallel={
            "workers": 2,
            "min_workers": 1 if scene == "grown" else None,
            "resize_seconds": 1.0,
            "micro_batch": 2,
            "cpus_per_worker": 1.0,
        },
    )


def disturb(scene: str, cluster: Any, store: Path) -> None:
    """Take the workers' node away, or bring another."""
    if scene == "grown":
        cluster.add_node(num_cpus=1)
        return
    node = node_of_workers(cluster)
    if scene == "preempted":
        drain(cluster, node)
        until = time.monotonic() + NOTICE_SECONDS
        while not saved(store) and time.monotonic() < until:
            time.sleep(0.01)
    cluster.remove_node(node, allow_graceful=False)


def node_of_workers(cluster: Any) -> Any:
    """The node that the workers run on: none of its CPUs is free."""
    from ray._private.state import available_resources_per_node

    (busy,) = (
        node
        for node in cluster.worker_nodes
        if available_resources_per_node()[node.node_id].get("CPU", 0.0) == 0.0
    )
    return busy


def begun(scene: str, store: Path) -> bool:
    """Whether steps were taken, and a checkpoint stands where one is due."""
    if scene != "preempted":
        return bool(saved(store))
    timings = store / "logs" / "stage" / "timings.jsonl"
    return timings.exists() and '"step": 3,' in timings.read_text()


def saved(store: Path) -> list[int]:
    """Steps of the checkpoints that stand."""
    return [int(path.stem[5:]) for path in store.glob("checkpoint/*/work/state/step-*.json")]


def drain(cluster: Any, node: Any) -> None:
    """Tell the cluster, as a cloud's notice does, that a node will be gone soon."""
    import ray
    from ray.core.generated import autoscaler_pb2

    deadline = time.time_ns() // 1_000_000 + NOTICE_SECONDS * 1000
    accepted, reason = ray._raylet.GcsClient(address=cluster.address).drain_node(
        node.node_id, autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION, "a test", deadline
    )
    assert accepted, reason


def coordinate_often() -> None:
    """Ray's own coordinator of elastic groups, looking for nodes each second, not every 20."""
    import ray
    from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator as module

    class Often(module._AutoscalingCoordinatorActor):
        TICK_INTERVAL_S = 1

    name = "AutoscalingCoordinator"
    ray.remote(num_cpus=0)(Often).options(name=name, namespace=name, lifetime="detached").remote()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *(Artifact.open(Path(p)) for p in sys.argv[3:5]))
