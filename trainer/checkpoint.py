"""Training checkpoints: saved by all ranks, published by one record, verified before use.

Layout of a stage's state folder::

    step-00000100.json            the record: published last, whole, once
    step-00000100.TOKEN/          what the stepper saved, and metrics.jsonl up to here

A folder without a record is an unfinished save and is never read. DeepSpeed's files are
pickles: they are loaded only when every hash in our own record fits.
"""

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clusters.failpoints import failpoint
from clusters.files import publish
from clusters.stage import StageError
from contracts.manifest import hash_file
from trainer.parallel.stepper import Stepper

METRICS_NAME = "metrics.jsonl"


class CheckpointError(StageError):
    """There are checkpoints, but none that can be resumed from."""


@dataclass(frozen=True)
class CheckpointRecord:
    """A published checkpoint."""

    step: int
    """Optimisation steps taken."""
    samples: int
    """Sample cursor: the next step starts with this sample."""
    world_size: int
    directory: str
    files: dict[str, tuple[int, str]]
    """Path in the directory -> (bytes, blake3)."""


class CheckpointStore:
    """The checkpoints of one stage, below its state folder."""

    def __init__(self, root: Path, *, prefix: str, keep: int = 2) -> None:
        """Open the store.

        Args:
            prefix: failpoint prefix of the stage, e.g. ``trainer.pretrain``.
            keep: newest checkpoints that are kept.
        """
        self.root = root
        self._prefix = prefix
        self._keep = keep

    def save(self, stepper: Stepper, step: int, samples: int, metrics: list[str]) -> None:
        """Save, then publish; called by all ranks. Older checkpoints are removed."""
        name = stepper.share(f"step-{step:08d}.{secrets.token_hex(4)}")
        directory = self.root / name
        failpoint(f"{self._prefix}.before_save")
        if stepper.rank == 0:
            directory.mkdir(parents=True)
            (directory / METRICS_NAME).write_text("".join(metrics), encoding="utf-8")
        stepper.share(None)
        stepper.save(directory)
        failpoint(f"{self._prefix}.in_save")
        stepper.total([0.0])  # every rank has written its part
        if stepper.rank == 0:
            files = {
                path.relative_to(directory).as_posix(): hash_file(path)
                for path in sorted(directory.rglob("*"))
                if path.is_file()
            }
            record = CheckpointRecord(step, samples, stepper.world_size, name, files)
            if not publish(self._record_path(step), json.dumps(asdict(record), indent=1)):
                shutil.rmtree(directory, ignore_errors=True)
            self._prune()
        failpoint(f"{self._prefix}.after_save")
        stepper.share(None)

    def resume(
        self, stepper: Stepper, say: Callable[[str], None]
    ) -> tuple[CheckpointRecord, list[str]] | None:
        """Load the newest whole checkpoint; called by all ranks.

        Args:
            say: told, on rank 0, of every checkpoint that had to be passed over.

        Returns:
            Its record and the metrics lines up to it; None where none was ever published.

        Raises:
            CheckpointError: there are records, but none fits its files; or the newest
                whole one is of another world size.
        """
        found: CheckpointRecord | str | None = None
        if stepper.rank == 0:
            try:
                found = self._newest_whole(say)
                self._sweep()
            except CheckpointError as error:
                found = str(error)
        found = stepper.share(found)
        if isinstance(found, str):
            raise CheckpointError(found)
        if found is None:
            return None
        if found.world_size != stepper.world_size:
            raise CheckpointError(
                f"{self._record_path(found.step)}: saved by {found.world_size} workers, there "
                f"are {stepper.world_size}; set parallel.workers to {found.world_size}"
            )
        directory = self.root / found.directory
        stepper.load(directory)
        lines = (directory / METRICS_NAME).read_text(encoding="utf-8").splitlines(keepends=True)
        return found, lines

    def records(self) -> list[Path]:
        """Records of published checkpoints, newest first."""
        return sorted(self.root.glob("step-*.json"), reverse=True)

    def _newest_whole(self, say: Callable[[str], None]) -> CheckpointRecord | None:
        paths = self.records()
        for path in paths:
            try:
                record = _read_record(path)
                problem = _problem_of(self.root, record)
            except (ValueError, TypeError, KeyError, OSError) as error:
                problem = f"unreadable record: {error}"
            if problem is None:
                return record
            say(f"{path}: {problem}; falling back to the checkpoint before it")
            path.unlink(missing_ok=True)
        if paths:
            raise CheckpointError(
                f"{self.root}: none of {len(paths)} checkpoints is whole; remove this folder "
                "to train from the start"
            )
        return None

    def _prune(self) -> None:
        for path in self.records()[self._keep :]:
            path.unlink(missing_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Remove folders that no record names."""
        named = set()
        for path in self.records():
            try:
                named.add(_read_record(path).directory)
            except (ValueError, TypeError, KeyError):
                path.unlink(missing_ok=True)  # it could never be resumed from
        for directory in self.root.glob("step-*.*"):
            if directory.is_dir() and directory.name not in named:
                shutil.rmtree(directory, ignore_errors=True)

    def _record_path(self, step: int) -> Path:
        return self.root / f"step-{step:08d}.json"


def _read_record(path: Path) -> CheckpointRecord:
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    raw["files"] = {name: (int(size), str(sum_)) for name, (size, sum_) in raw["files"].items()}
    return CheckpointRecord(**raw)


def _problem_of(root: Path, record: CheckpointRecord) -> str | None:
    for name, expected in record.files.items():
        path = root / record.directory / name
        if not path.is_file():
            return f"{name} is missing"
        if hash_file(path) != tuple(expected):
            return f"{name} is not what was saved"
    return None
