"""GPUs and clusters: what the plan knows of the hardware, with its sources."""

import math
import re
from dataclasses import dataclass, replace

from clusters.config import ConfigError, nearest

GB = 1e9
GIB = 2.0**30
RESERVED = 0.06
"""Share of a GPU's memory left free: driver, context, NCCL's buffers, and the ledger's doubt."""


@dataclass(frozen=True)
class Gpu:
    """One accelerator."""

    name: str
    memory: float
    """Bytes that a plan may fill: the nominal size less ``RESERVED``."""
    peak_flops: float
    """Dense bf16 (fp16 where there is no bf16) tensor FLOP/s of the data sheet."""
    memory_bandwidth: float
    """Bytes/s of its own memory."""
    link_bandwidth: float
    """Bytes/s to the other GPUs of the node, one direction."""
    efficiency: float
    """Share of ``peak_flops`` that wide layers reach alone, without communication."""
    source: str


@dataclass(frozen=True)
class Cluster:
    """Equal nodes of equal GPUs."""

    gpu: Gpu
    gpus_per_node: int
    node_bandwidth: float
    """Bytes/s out of a node to the others, all its ports together, one direction."""
    host_memory: float = 1e12
    """Bytes of main memory per node, for offloading; 0 where there is nothing to offload to."""
    host_link: float = 25e9
    """Bytes/s between one GPU and main memory (PCIe 4 x16, about 25 GB/s in practice)."""


def _gpu(
    name: str,
    gib: float,
    tflops: float,
    memory_tb: float,
    link_gb: float,
    efficiency: float,
    source: str,
) -> Gpu:
    return Gpu(
        name,
        gib * GIB * (1 - RESERVED),
        tflops * 1e12,
        memory_tb * 1e12,
        link_gb * GB,
        efficiency,
        source,
    )


# Efficiencies of A100 and H100 from single-node throughputs in llm-foundry's
# scripts/train/benchmarking/README.md and InternEvo's doc/en/train_performance.md (see
# throughput.kernel_efficiency); others of the generation are set alike.
_GPUS = [
    _gpu("v100-16g", 16, 125, 0.9, 150, 0.45, "NVIDIA V100 data sheet (SXM2)"),
    _gpu("v100-32g", 32, 125, 0.9, 150, 0.45, "NVIDIA V100 data sheet (SXM2)"),
    _gpu("a10g-24g", 24, 70, 0.6, 25, 0.60, "AWS g5 / NVIDIA A10G; PCIe only"),
    _gpu("t4-16g", 16, 65, 0.3, 8, 0.45, "NVIDIA T4 data sheet; PCIe 3 only"),
    _gpu("l4-24g", 24, 121, 0.3, 25, 0.50, "NVIDIA L4 data sheet; PCIe only"),
    _gpu("rtx3090-24g", 24, 71, 0.94, 25, 0.60, "NVIDIA GA102 white paper, fp32 sums; PCIe only"),
    _gpu("rtx4090-24g", 24, 165, 1.0, 25, 0.60, "NVIDIA Ada white paper, fp32 sums; PCIe only"),
    _gpu("a6000-48g", 48, 155, 0.77, 25, 0.60, "NVIDIA RTX A6000 data sheet; PCIe only"),
    _gpu("a40-48g", 48, 150, 0.7, 25, 0.60, "NVIDIA A40 data sheet; PCIe only"),
    _gpu("a100-pcie-40g", 40, 312, 1.55, 25, 0.55, "NVIDIA A100 data sheet (PCIe, 250 W)"),
    _gpu("a100-pcie-80g", 80, 312, 1.94, 25, 0.55, "NVIDIA A100 data sheet (PCIe, 300 W)"),
    _gpu("a100-40g", 40, 312, 1.55, 300, 0.66, "NVIDIA A100 data sheet (SXM4)"),
    _gpu("a100-80g", 80, 312, 2.04, 300, 0.66, "NVIDIA A100 data sheet (SXM4)"),
    _gpu("a800-80g", 80, 312, 2.04, 200, 0.66, "NVIDIA A800: A100 with 400 GB/s NVLink"),
    _gpu("h100-80g", 80, 989, 3.35, 450, 0.50, "NVIDIA H100 data sheet (SXM5)"),
    _gpu("h100-pcie-80g", 80, 756, 2.0, 50, 0.45, "NVIDIA H100 data sheet (PCIe, 350 W)"),
    _gpu("h20-96g", 96, 148, 4.0, 450, 0.80, "NVIDIA H20: H100's memory and links, fewer cores"),
    _gpu("h800-80g", 80, 989, 3.35, 200, 0.50, "NVIDIA H800: H100 with 400 GB/s NVLink"),
    _gpu("h200-141g", 141, 989, 4.8, 450, 0.50, "NVIDIA H200 data sheet (SXM5)"),
    _gpu("gh200-96g", 96, 989, 4.0, 450, 0.50, "NVIDIA GH200 data sheet"),
    _gpu("b200-180g", 180, 2250, 7.7, 900, 0.45, "NVIDIA B200 data sheet"),
    _gpu("l40s-48g", 48, 362, 0.86, 25, 0.50, "NVIDIA L40S data sheet; PCIe only"),
    _gpu("mi250x-64g", 64, 191, 1.6, 100, 0.45, "AMD MI250X data sheet, one of its two dies"),
    _gpu("mi300x-192g", 192, 1307, 5.3, 448, 0.40, "AMD MI300X data sheet"),
    _gpu("cpu", 16, 1.4, 0.02, 10, 0.50, "one x86 core pair of a small cloud box, measured"),
]
GPUS = {gpu.name: gpu for gpu in _GPUS}
_ALIASES = {
    "a100": "a100-80g",
    "a800": "a800-80g",
    "h100": "h100-80g",
    "h800": "h800-80g",
    "h100-pcie": "h100-pcie-80g",
    "a100-pcie": "a100-pcie-80g",
    "h20": "h20-96g",
    "t4": "t4-16g",
    "l4": "l4-24g",
    "a40": "a40-48g",
    "rtx3090": "rtx3090-24g",
    "rtx4090": "rtx4090-24g",
    "a6000": "a6000-48g",
    "rtxa6000": "a6000-48g",
    "h200": "h200-141g",
    "gh200": "gh200-96g",
    "b200": "b200-180g",
    "v100": "v100-32g",
    "a10g": "a10g-24g",
    "l40s": "l40s-48g",
    "mi250x": "mi250x-64g",
    "mi250": "mi250x-64g",
    "mi300x": "mi300x-192g",
}
UNKNOWN_GPU = GPUS["a100-80g"]
"""What a published table's unknown GPU is taken for; its speed comes from the table."""

_CLUSTERS: dict[str, tuple[str, int, float]] = {
    "a100-80g": ("a100-80g", 8, 400),  # 4 x 100 Gbit/s RoCE, InternEvo doc/en/train_performance.md
    "a100-80g-1600": ("a100-80g", 8, 1600),  # 8 x 200 Gbit/s HDR: DGX A100 user guide
    "a100-40g": ("a100-40g", 8, 1600),  # llm-foundry's A100-40GB cluster
    "a800-80g": ("a800-80g", 8, 1600),
    "h100": ("h100-80g", 8, 3200),  # 8 x 400 Gbit/s NDR: DGX H100 user guide
    "h200": ("h200-141g", 8, 3200),  # DGX H200 user guide
    "b200": ("b200-180g", 8, 3200),  # DGX B200 user guide
    "v100": ("v100-32g", 8, 100),  # p3dn.24xlarge
    "cpu": ("cpu", 1, 10),
}


_NOISE = {
    *("nvidia", "amd", "geforce", "quadro", "tesla", "instinct", "tensor", "core", "gpu"),
    *("sxm", "sxm2", "sxm3", "sxm4", "sxm5", "nvlink", "hbm", "hbm2", "hbm2e", "hbm3", "hbm3e"),
}
"""Words of a GPU's full name that say nothing more."""


def find_gpu(name: str) -> Gpu | None:
    """The GPU of that name in any usual spelling (``A100-SXM4-80GB``), or None."""
    words = re.split(r"[-_ /()]+", name.lower().replace("gib", "g").replace("gb", "g"))
    kept = [word for word in words if word and word not in _NOISE]
    if kept and (variants := [word for word in kept if word == "pcie"]):
        kept = [kept[0], *variants, *(word for word in kept[1:] if word != "pcie")]
    for joined in ("-".join(kept), "".join(kept[:2]) + "".join(f"-{word}" for word in kept[2:])):
        gpu = GPUS.get(_ALIASES.get(joined, joined))
        if gpu is not None:
            return gpu
    return None


def usual_gpus() -> list[Gpu]:
    """The GPUs of the cluster presets."""
    return [GPUS[name] for name in dict.fromkeys(preset[0] for preset in _CLUSTERS.values())]


def find_cluster(
    name: str, node_gbit_s: float | None = None, gpus_per_node: int | None = None
) -> Cluster:
    """The cluster preset of that name, with its network or node size replaced where given.

    Raises:
        ConfigError: unknown name, or a number that makes no cluster.
    """
    gpu = find_gpu(name)
    preset = _CLUSTERS.get(name.lower())
    if preset is None and gpu is not None:
        preset = next((c for c in _CLUSTERS.values() if c[0] == gpu.name), (gpu.name, 8, 400))
    if preset is None:
        known = sorted({*_CLUSTERS, *GPUS})
        raise ConfigError(
            f"--hardware {name!r}: unknown{nearest(name, known)}; known: {', '.join(known)}; "
            "or a YAML file of your own cluster (docs/plan.md)"
        )
    host = 0.0 if preset[0] == "cpu" else Cluster.host_memory  # its memory is the host's
    cluster = Cluster(GPUS[preset[0]], preset[1], preset[2] * 1e9 / 8, host)
    return resized(cluster, node_gbit_s, gpus_per_node)


def resized(cluster: Cluster, node_gbit_s: float | None, gpus_per_node: int | None) -> Cluster:
    """The cluster with another network or node size where one is given.

    Raises:
        ConfigError: a number that makes no cluster.
    """
    gbit = cluster.node_bandwidth * 8 / 1e9 if node_gbit_s is None else node_gbit_s
    per_node = cluster.gpus_per_node if gpus_per_node is None else gpus_per_node
    if not 0 < gbit < math.inf or per_node <= 0:
        raise ConfigError(
            f"--node-gbit-s {gbit}, --gpus-per-node {per_node}: both must be numbers above 0"
        )
    return replace(cluster, gpus_per_node=per_node, node_bandwidth=gbit * 1e9 / 8)
