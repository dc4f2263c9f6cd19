"""What a stage is, and what it is given when it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clusters.artifact import Artifact, ArtifactWriter
from clusters.config import StageConfig
from clusters.progress import Progress
from contracts.manifest import ExternalInput


class StageError(Exception):
    """A stage cannot go on, for a reason its user can read and act on."""


@dataclass(frozen=True)
class Requirements:
    """What must be free before a stage starts."""

    cpus: float = 1.0
    memory_bytes: int = 1 << 30
    disk_bytes: int = 1 << 28


@dataclass(frozen=True)
class StageContext:
    """All a stage may use. Everything else it needs is in its config."""

    config: Any
    """An instance of the stage's config model."""
    inputs: Mapping[str, list[Artifact]]
    """Role -> the artifacts the recipe named for it."""
    out: ArtifactWriter
    progress: Progress
    seed: int
    run: str
    """Name of the run, e.g. ``demo``."""
    name: str
    """Name of this stage in the recipe."""
    log_dir: Path
    """For what never repeats (timings, worker logs); not part of the artifact."""
    scores_url: str
    """SQLAlchemy URL of the score database."""

    def input(self, role: str) -> Artifact:
        """The one artifact of a role that takes one."""
        (artifact,) = self.inputs[role]
        return artifact


@dataclass(frozen=True)
class Input:
    """A role that a stage reads: which kinds fit, and whether several may be named."""

    kinds: tuple[str, ...]
    many: bool = False
    optional: bool = False


def _no_external(config: Any) -> list[ExternalInput]:
    return []


def _small(config: Any) -> Requirements:
    return Requirements()


@dataclass(frozen=True)
class Stage:
    """A kind of stage, declared once in its room's ``stages.py``.

    ``run`` writes through ``context.out`` and returns stats as JSON values; its keys
    ``in`` and ``out`` hold the counts of what went in and what came out. It must give
    the same files for the same config, seed and inputs, and may be killed and started
    again at any moment.
    """

    name: str
    """``ROOM.VERB``, the name recipes use."""
    config: type[StageConfig]
    output: str
    """Artifact kind it makes."""
    run: Callable[[StageContext], dict[str, Any]]
    version: int = 1
    """Bumped by hand when the same config would give other bytes."""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    external: Callable[[Any], list[ExternalInput]] = _no_external
    """What is read from outside, hashed; raises ConfigError where it cannot be read."""
    requires: Callable[[Any], Requirements] = _small
    needs_ray: bool = True
