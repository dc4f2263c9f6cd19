"""Time of the collectives: latency and bandwidth, in the node and across nodes.

A collective over n ranks and B bytes costs (Hockney's alpha-beta model; Thakur, Rabenseifner
and Gropp, "Optimization of Collective Communication Operations in MPICH", 2005)

    ring pass   B * f / bandwidth + messages * n * hop           all-gather, reduce-scatter
    all-reduce  2 ring passes
    tree        2 * (B * f / bandwidth + messages * log2(nodes) * hop), small messages only

with f = (nodes - 1) / nodes across nodes, the share that must enter each node, and
(n - 1) / n inside one; the slower of the two counts. All groups that cross a node's edge at
the same time share its ports.
A ring's latency grows with its ranks, a tree's with the logarithm (Sanders, Speck and Traff,
"Two-tree algorithms for full bandwidth broadcast, reduction and scan", 2009): NCCL takes
rings for large messages and trees for small ones.
"""

import math
from dataclasses import dataclass

from trainer.plan.hardware import Cluster
from trainer.plan.layout import nodes_of

LINK_SHARE = 0.75
"""Share of the data sheet's NVLink rate that NCCL's rings reach (nccl-tests: about 230 of
300 GB/s on DGX A100)."""
NODE_HOP = 3e-6
"""Seconds per message and hop inside a node (NCCL's tuning table: 3.4 us, simple protocol)."""
REDUCE_BUCKET = 2.0**29
"""Bytes of one gradient message of a ZeRO optimiser: InternEvo's ``reduce_bucket_size``."""
DDP_BUCKET = 25 * 2.0**20
"""Bytes of one gradient message of PyTorch DDP: its ``bucket_cap_mb``."""
LOOP_BUCKET = 64 * 2.0**20
"""Bytes of one gradient message of the training loop's own: ``parallel.bucket_bytes``."""
TREE_LIMIT = 2.0**26
"""Messages up to this many bytes may go by trees."""


@dataclass(frozen=True)
class Constants:
    """What the network and the software reach. The first two are fitted where data allows."""

    hop: float = 5e-6
    """Seconds per message and hop of a ring that leaves the node: NCCL's tuning table has
    3.4 us inside a node and 14 us between nodes (simple protocol), (7 * 3.4 + 14) / 8 = 4.7
    in the mean over a ring with eight GPUs per node."""
    network_share: float = 0.85
    """Achieved share of the node's nominal bandwidth."""
    overlap: float = 2.0
    """Exponent p of (compute^p + communication^p)^(1/p): 1 no overlap, infinite perfect.
    Finite, because kernels that run together slow each other."""
    jitter: float = 0.02
    """Standard deviation of one rank's computing time, over its square root, in s^0.5."""


@dataclass(frozen=True)
class Group:
    """Ranks that communicate, ``stride`` GPUs apart."""

    ranks: int
    stride: int = 1

    def nodes(self, cluster: Cluster) -> int:
        """Nodes it touches."""
        return nodes_of(self.ranks, self.stride, cluster.gpus_per_node)


def ring_pass(
    size: float, group: Group, cluster: Cluster, constants: Constants, messages: float = 1
) -> float:
    """Seconds of an all-gather or reduce-scatter of ``size`` bytes in ``messages`` parts."""
    if group.ranks <= 1:
        return 0.0
    nodes = group.nodes(cluster)
    hop = NODE_HOP if nodes == 1 else constants.hop
    return _moving(size, group, cluster, constants) + messages * group.ranks * hop


def all_reduce(
    size: float, group: Group, cluster: Cluster, constants: Constants, bucket: float
) -> float:
    """Seconds of an all-reduce of ``size`` bytes in messages of at most ``bucket`` bytes."""
    messages = max(1.0, size / bucket)
    ring = 2 * ring_pass(size, group, cluster, constants, messages)
    nodes = group.nodes(cluster)
    if nodes == 1 or bucket > TREE_LIMIT:
        return ring
    moving = _moving(size, group, cluster, constants)
    depth = math.log2(nodes) + 1
    return min(ring, 2 * (moving + messages * depth * constants.hop))


def all_to_all(size: float, group: Group, cluster: Cluster, constants: Constants) -> float:
    """Seconds in which each rank sends ``size`` bytes, an equal part to each other rank."""
    if group.ranks <= 1:
        return 0.0
    nodes = group.nodes(cluster)
    away = size * (group.ranks - 1) / group.ranks
    if nodes == 1:
        return away / _link(cluster) + group.ranks * NODE_HOP
    per_gpu = cluster.node_bandwidth * constants.network_share / cluster.gpus_per_node
    return away / min(per_gpu, _link(cluster)) + group.ranks * constants.hop


def overlapped(computing: float, communicating: float, constants: Constants) -> float:
    """Seconds of both when they run side by side."""
    if communicating == 0:
        return computing
    p = constants.overlap
    longer = max(computing, communicating)
    shorter = min(computing, communicating)
    return float(longer * (1 + (shorter / longer) ** p) ** (1 / p))


def straggling(computing: float, ranks: int, constants: Constants) -> float:
    """Seconds that a step waits for its slowest rank.

    A rank's time is a sum over many kernels, so its deviation grows with the square root of
    that time; the largest of n normal draws lies sqrt(2 ln n) deviations above the mean
    (extreme value theory; on stragglers in training: MegaScale, arXiv:2402.15627).
    """
    if ranks <= 1:
        return 0.0
    return constants.jitter * math.sqrt(computing) * math.sqrt(2 * math.log(ranks))


def _moving(size: float, group: Group, cluster: Cluster, constants: Constants) -> float:
    """Seconds of one pass's bytes: on the links inside or on the node's edge, the slower."""
    nodes = group.nodes(cluster)
    inside = size * (group.ranks - 1) / group.ranks / _link(cluster)
    if nodes == 1:
        return inside
    return max(inside, size * (nodes - 1) / nodes / _across(group, cluster, constants))


def _link(cluster: Cluster) -> float:
    return cluster.gpu.link_bandwidth * LINK_SHARE


def _across(group: Group, cluster: Cluster, constants: Constants) -> float:
    """Bytes/s of one group over a node's edge: groups side by side share the ports."""
    beside = min(group.stride, cluster.gpus_per_node)
    return cluster.node_bandwidth * constants.network_share / beside
