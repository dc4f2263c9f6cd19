"""Fits or says why not: what a stage needs against what this machine has free."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from clusters.config import ConfigError
from clusters.stage import Requirements

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CGROUP_USED = Path("/sys/fs/cgroup/memory.current")
_CGROUP_STAT = Path("/sys/fs/cgroup/memory.stat")


@dataclass(frozen=True)
class Machine:
    """What is free here."""

    cpus: float
    memory_bytes: int
    disk_bytes: int

    @classmethod
    def here(cls, store: Path, num_cpus: int | None = None) -> "Machine":
        """Measure this machine; ``store`` says which disk."""
        existing = store.absolute()
        while not existing.exists():
            existing = existing.parent
        return cls(
            cpus=num_cpus or psutil.cpu_count() or 1,
            memory_bytes=_free_memory(),
            disk_bytes=shutil.disk_usage(existing).free,
        )

    @classmethod
    def cluster(cls, store: Path) -> "Machine":
        """Measure the cluster this process is connected to."""
        import ray

        resources = ray.cluster_resources()
        return cls(
            cpus=resources.get("CPU", 0.0),
            memory_bytes=int(resources.get("memory", 0)),
            disk_bytes=cls.here(store).disk_bytes,
        )


def _free_memory() -> int:
    """Bytes of memory free to us: the container's limit counts where there is one."""
    available = psutil.virtual_memory().available
    try:
        limit, used = _CGROUP_LIMIT.read_text().strip(), int(_CGROUP_USED.read_text())
        stat = dict(line.split() for line in _CGROUP_STAT.read_text().splitlines())
        cache = int(stat["inactive_file"])  # the kernel gives this back when it is needed
    except (OSError, ValueError, KeyError):
        return available
    return available if limit == "max" else min(available, int(limit) - used + cache)


def check(stage: str, needs: Requirements, machine: Machine) -> None:
    """Refuse a stage that will not fit.

    Raises:
        ConfigError: one line per thing that is missing.
    """
    problems = []
    if needs.cpus > machine.cpus:
        problems.append(f"{needs.cpus:g} CPUs, there are {machine.cpus:g}")
    if needs.memory_bytes > machine.memory_bytes:
        problems.append(
            f"{needs.memory_bytes / 2**30:.1f} GiB of memory, "
            f"{machine.memory_bytes / 2**30:.1f} GiB are free"
        )
    if needs.disk_bytes > machine.disk_bytes:
        problems.append(
            f"{needs.disk_bytes / 2**30:.1f} GiB of disk in the store, "
            f"{machine.disk_bytes / 2**30:.1f} GiB are free"
        )
    if problems:
        raise ConfigError("\n".join(f"stage {stage!r} needs {problem}" for problem in problems))
