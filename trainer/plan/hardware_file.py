"""A cluster of the user's own, as a YAML file for ``inkstone train plan --hardware FILE``."""

import math
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from clusters.config import ConfigError, StageConfig, explain
from trainer.plan.hardware import GIB, RESERVED, Cluster, Gpu


class HardwareFile(StageConfig):
    """What a plan asks of a cluster: nominal figures of data sheets, one direction of a link."""

    memory_gib: float = Field(gt=0)
    """Memory of a GPU, GiB."""
    peak_tflops: float = Field(gt=0)
    """Dense bf16 tensor TFLOP/s of a GPU, without sparsity."""
    memory_gb_s: float = Field(gt=0)
    """Bandwidth of a GPU's own memory, GB/s."""
    link_gb_s: float = Field(gt=0)
    """From a GPU to the others of its node, GB/s."""
    efficiency: float = Field(0.5, gt=0, le=1)
    """Share of the peak that kernels reach alone: measure it on one GPU."""
    gpus_per_node: int = Field(8, ge=1)
    """GPUs of a node."""
    node_gbit_s: float = Field(gt=0)
    """Network of a node, all its ports together, Gbit/s."""
    host_memory_gib: float = Field(Cluster.host_memory / GIB, ge=0)
    """Main memory of a node, GiB, for offloading; 0 where there is none to spare."""
    host_link_gb_s: float = Field(Cluster.host_link / 1e9, gt=0)
    """Between a GPU and main memory, GB/s."""


def read_cluster(path: Path) -> Cluster:
    """The cluster that a YAML file of ``HardwareFile``'s keys describes; named as the file is.

    Raises:
        ConfigError: no such file, no YAML, a missing, unknown or impossible key.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--hardware {path}: unreadable: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"--hardware {path}: no YAML: {error}") from None
    if not isinstance(values, dict):
        keys = ", ".join(HardwareFile.model_fields)
        raise ConfigError(f"--hardware {path}: expected keys and values; keys: {keys}")
    try:
        file = HardwareFile.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"--hardware {path}:\n{explain(error, HardwareFile, '')}") from None
    infinite = [key for key, value in file if not math.isfinite(value)]
    if infinite:
        raise ConfigError(f"--hardware {path}: {infinite[0]}: must be a finite number")
    return _cluster(path.stem, file)


def _cluster(name: str, file: HardwareFile) -> Cluster:
    gpu = Gpu(
        name,
        memory=file.memory_gib * GIB * (1 - RESERVED),
        peak_flops=file.peak_tflops * 1e12,
        memory_bandwidth=file.memory_gb_s * 1e9,
        link_bandwidth=file.link_gb_s * 1e9,
        efficiency=file.efficiency,
        source="its hardware file",
    )
    return Cluster(
        gpu,
        file.gpus_per_node,
        node_bandwidth=file.node_gbit_s * 1e9 / 8,
        host_memory=file.host_memory_gib * GIB,
        host_link=file.host_link_gb_s * 1e9,
    )
