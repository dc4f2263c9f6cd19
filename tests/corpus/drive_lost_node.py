"""A driver two of whose three nodes die in mid-build, one after the other.

``python -m tests.corpus.drive_lost_node STORE SOURCE`` prints after how many units each raylet
was killed, then the digest.
"""

import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from tests.corpus.builder import build

MOST_UNITS = 40
"""Units between two deaths, at most; a build of the tests has more than twice as many."""


def disturb(nodes: list[Any], store: Path) -> None:
    """Kill one raylet after the other, some units apart."""
    seen = 0
    for node in nodes:
        seen += random.SystemRandom().randint(1, MOST_UNITS)
        while sum(1 for _ in store.glob("corpus/**/work/units/**/*.json")) < seen:
            time.sleep(0.01)
        node.kill_raylet()
        print("killed after", seen, flush=True)


def main(store: Path, source: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    threading.Thread(target=disturb, args=(nodes, store), daemon=True).start()
    settings = {
        "workers": 3,
        "dedup": {"partitions": 3},
        "lines": {"enabled": True, "max_documents": 3},
    }
    print(build(store, source, **settings).manifest.digest)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
