"""The record of a checkpoint: published last, whole, once."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clusters.files import publish
from clusters.stage import StageError
from trainer.checkpoint.checksum import checksum_of

METRICS_NAME = "metrics.jsonl"


class CheckpointError(StageError):
    """A checkpoint cannot be written, or none of those there can be resumed from."""


@dataclass(frozen=True)
class CheckpointRecord:
    """A published checkpoint."""

    step: int
    """Optimisation steps taken."""
    samples: int
    """Sample cursor: the next step starts with this sample."""
    skipped: list[tuple[int, int]]
    """Ranges of samples that are left out, (first, count), in order."""
    world_sizes: list[tuple[int, int]]
    """(first step, ranks) of every stretch of the run so far."""
    model: str
    """``shapes_digest`` of the model."""
    scalars: dict[str, float]
    """Optimiser steps, loss scale, and other state that is one number."""
    directory: str
    files: dict[str, tuple[int, str]]
    """Path in the directory -> (bytes, checksum)."""

    @property
    def shards(self) -> list[str]:
        """Names of the files that hold fragments."""
        return [name for name in self.files if name.endswith(".safetensors")]


def record_path(root: Path, step: int) -> Path:
    """Where the record of a step's checkpoint lies."""
    return root / f"step-{step:08d}.json"


def publish_record(root: Path, record: CheckpointRecord) -> bool:
    """Publish; False where this step has a checkpoint already."""
    return publish(record_path(root, record.step), json.dumps(asdict(record), indent=1))


def read_record(path: Path) -> CheckpointRecord:
    """Read a record.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is damaged.
    """
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    raw["files"] = {name: (int(size), str(sum_)) for name, (size, sum_) in raw["files"].items()}
    raw["skipped"] = [(int(first), int(count)) for first, count in raw["skipped"]]
    raw["world_sizes"] = [(int(step), int(ranks)) for step, ranks in raw["world_sizes"]]
    return CheckpointRecord(**raw)


def problem_of(root: Path, record: CheckpointRecord, rank: int = 0, ranks: int = 1) -> str:
    """What is wrong with the files of a checkpoint, or nothing; each rank checks a part."""
    for name in sorted(record.files)[rank::ranks]:
        path = root / record.directory / name
        if not path.is_file():
            return f"{name} is missing"
        if checksum_of(path) != tuple(record.files[name]):
            return f"{name} is not what was saved"
    return ""
