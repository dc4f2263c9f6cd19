"""The checkpoints of one stage: saved by all ranks, published by one record, verified.

Layout of a stage's state folder::

    step-00000100.json            the record: published last, whole, once
    step-00000100.TOKEN/          a shard by each rank, and metrics.jsonl up to here

A folder without a record is an unfinished save and is never read.
"""

import secrets
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clusters.failpoints import failpoint
from trainer.checkpoint.checksum import checksum_of
from trainer.checkpoint.record import (
    METRICS_NAME,
    CheckpointError,
    CheckpointRecord,
    problem_of,
    publish_record,
    read_record,
    record_path,
)
from trainer.checkpoint.shard_file import ShardReader
from trainer.checkpoint.snapshot import Snapshot
from trainer.checkpoint.writer import BackgroundTask, gather_parts, write_part
from trainer.cursor import Cursor
from trainer.parallel.fragments import shapes_digest
from trainer.parallel.stepper import Stepper

_DAMAGED = (ValueError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True)
class Policy:
    """How checkpoints are written, and which are kept."""

    keep_last: int = 2
    """Newest checkpoints that are kept."""
    keep_every: int = 0
    """Checkpoints whose step is a multiple of this are kept too; 0 for none."""
    asynchronous: bool = True
    """Train on while it is written."""


class CheckpointStore:
    """The checkpoints of one stage, below its state folder, as one rank sees them."""

    def __init__(self, root: Path, *, prefix: str, policy: Policy | None = None) -> None:
        """Open the store.

        Args:
            prefix: failpoint prefix of the stage, e.g. ``trainer.pretrain``.
            policy: by default two checkpoints are kept, and written asynchronously.
        """
        self.root = root
        self._prefix = prefix
        self._policy = policy or Policy()
        self._snapshot = Snapshot()
        self._task = BackgroundTask()
        self._given_up = threading.Event()
        self.world_sizes: list[tuple[int, int]] = []
        """(first step, ranks) of every stretch of the run so far."""

    @property
    def failed(self) -> bool:
        """Whether this rank could not write its part of a checkpoint."""
        return bool(self._task.error)

    def save(self, stepper: Stepper, cursor: Cursor, metrics: list[str]) -> None:
        """Take a copy of the state and write it; called by all ranks at the same step.

        Raises:
            CheckpointError: this save or, asynchronously, the one before failed.
        """
        failpoint(f"{self._prefix}.before_save")
        if not self.world_sizes:
            self._note_world_size(0, stepper.world_size)
        self.wait(stepper)
        name = f"step-{cursor.step:08d}.{secrets.token_hex(4)}"
        if stepper.rank == 0:
            (self.root / name).mkdir(parents=True)
        directory = self.root / stepper.share(name)
        record = self._blank_record(stepper, cursor, directory.name)
        text = "".join(metrics)
        self._snapshot.take(stepper.owned())
        stepper.before_change = self._snapshot.before_change
        self._task.start(lambda: self._write(stepper, record, text))
        if not self._policy.asynchronous:
            self.wait(stepper)

    def wait(self, stepper: Stepper) -> None:
        """Return once the last save stands; called by all ranks.

        Raises:
            CheckpointError: a rank could not write its part.
        """
        if stepper.rank:
            self._task.wait()
        (failures,) = stepper.total([float(self.failed)])
        if failures:
            self._given_up.set()  # rank 0 may be waiting for a part that never comes
        self._task.wait()
        (failures,) = stepper.total([float(self.failed)])
        if failures:
            self.raise_failure()

    def raise_failure(self) -> None:
        """Say why checkpoints cannot be written, with the remedy."""
        self._given_up.set()
        raise CheckpointError(
            f"a checkpoint could not be written: {self._task.error or 'see the other ranks'}; "
            f"make room below {self.root}, or lower checkpoint.keep_last; the same command "
            "goes on from the checkpoint before"
        )

    def resume(
        self, stepper: Stepper, say: Callable[[str], None]
    ) -> tuple[CheckpointRecord, list[str]] | None:
        """Load the newest whole checkpoint; called by all ranks, however many saved it.

        Args:
            say: told, on rank 0, of every checkpoint that had to be passed over.

        Returns:
            Its record and the metrics lines up to it; None where none was ever published.

        Raises:
            CheckpointError: there are records, but none fits its files; or one cannot be
                read for now; or the newest whole one is of another model. Nothing is
                removed then.
        """
        paths: list[Path] = stepper.share(self.records())
        for index, path in enumerate(paths):
            record, problem = self._check(path, stepper)
            if record is not None and not problem:
                return self._load(record, stepper, passed_over=paths[:index])
            say(f"{path}: {problem}; falling back to the checkpoint before it")
        if paths:
            raise CheckpointError(
                f"{self.root}: none of {len(paths)} checkpoints is whole; all are left as they "
                "are; remove this folder to train from the start"
            )
        if stepper.rank == 0:
            self._sweep()
        return None

    def records(self) -> list[Path]:
        """Records of published checkpoints, newest first."""
        return sorted(self.root.glob("step-*.json"), reverse=True)

    def _note_world_size(self, step: int, ranks: int) -> None:
        if not self.world_sizes or self.world_sizes[-1][1] != ranks:
            self.world_sizes.append((step, ranks))

    def _blank_record(self, stepper: Stepper, cursor: Cursor, name: str) -> CheckpointRecord:
        return CheckpointRecord(
            step=cursor.step,
            samples=cursor.samples,
            skipped=list(cursor.skipped),
            world_sizes=list(self.world_sizes),
            model=shapes_digest(stepper.shapes()),
            scalars=stepper.scalars(),
            directory=name,
            files={},
        )

    def _write(self, stepper: Stepper, record: CheckpointRecord, text: str) -> None:
        """What a rank does in the background; rank 0 publishes when all have written."""
        directory = self.root / record.directory
        write_part(directory, stepper.rank, stepper.world_size, self._snapshot, self._prefix)
        if stepper.rank == 0:
            (directory / METRICS_NAME).write_text(text, encoding="utf-8")
            record.files[METRICS_NAME] = checksum_of(directory / METRICS_NAME)
            record.files.update(gather_parts(directory, stepper.world_size, self._given_up))
            if not publish_record(self.root, record):
                shutil.rmtree(directory, ignore_errors=True)
            self._prune()
            failpoint(f"{self._prefix}.after_save")

    def _check(self, path: Path, stepper: Stepper) -> tuple[CheckpointRecord | None, str]:
        """The record, and what is wrong with it on any rank: the files are shared out.

        Raises:
            CheckpointError: a rank cannot read it; that may pass, so it is no damage.
        """
        problem, blocked, record = "", "", None
        try:
            record = read_record(path)
            problem = problem_of(self.root, record, stepper.rank, stepper.world_size)
        except (*_DAMAGED, FileNotFoundError) as error:
            problem = f"unreadable record: {error}"
        except OSError as error:
            blocked = f"{error}"
        bad, unread = stepper.total([float(bool(problem)), float(bool(blocked))])
        if unread:
            raise CheckpointError(
                f"{path}: cannot be read: {blocked or 'see the other ranks'}; nothing was "
                f"removed: mend the storage below {self.root}; the same command goes on"
            )
        return record, problem or ("a shard is not what was saved" if bad else "")

    def _load(
        self, record: CheckpointRecord, stepper: Stepper, passed_over: list[Path]
    ) -> tuple[CheckpointRecord, list[str]]:
        where = record_path(self.root, record.step)
        if record.model != shapes_digest(stepper.shapes()):
            raise CheckpointError(
                f"{where}: saved from another model; remove {self.root} to train from the start"
            )
        directory = self.root / record.directory
        stepper.before_change()
        ShardReader([directory / name for name in record.shards]).fill(stepper.held())
        stepper.loaded(record.scalars)
        self.world_sizes = list(record.world_sizes)
        self._note_world_size(record.step, stepper.world_size)
        if stepper.rank == 0:
            for path in passed_over:  # only now that an older one stands in for them
                path.unlink(missing_ok=True)
            self._sweep()
        lines = (directory / METRICS_NAME).read_text(encoding="utf-8").splitlines(keepends=True)
        stepper.share(None)  # nobody prunes before everybody has read
        return record, lines

    def _prune(self) -> None:
        every = self._policy.keep_every
        for path in self.records()[self._policy.keep_last :]:
            if not every or _step_of(path) % every:
                path.unlink(missing_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Remove folders that no record names; nothing while a record cannot be read."""
        named = set()
        for path in self.records():
            try:
                named.add(read_record(path).directory)
            except _DAMAGED:
                path.unlink(missing_ok=True)  # it could never be resumed from
            except OSError:
                return
        for directory in self.root.glob("step-*.*"):
            if directory.is_dir() and directory.name not in named:
                shutil.rmtree(directory, ignore_errors=True)


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
