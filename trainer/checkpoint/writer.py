"""Writes a rank's part of a checkpoint in a thread of its own while training goes on."""

import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

from clusters.failpoints import failpoint
from clusters.files import publish
from trainer.checkpoint.shard_file import write_shard
from trainer.checkpoint.snapshot import Snapshot

_POLL_SECONDS = 0.02


class BackgroundTask:
    """One thing at a time in a thread of its own.

    Of ordinary priority: a lower one holds the interpreter's lock for as long as it waits for a
    processor, and training with it.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self.error = ""
        """Why the last task failed; empty while none has."""

    def start(self, task: Callable[[], None]) -> None:
        """Run ``task``; the one before must have been waited for."""
        self._thread = threading.Thread(
            target=self._run, args=(task,), name="checkpoint", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Return once nothing runs."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"


def write_part(directory: Path, rank: int, ranks: int, snapshot: Snapshot, prefix: str) -> None:
    """Write a rank's shard and say so in ``part-RANK.json``, also when it fails."""
    name = f"rank-{rank:05d}-of-{ranks:05d}.safetensors"
    part = directory / _part_name(rank)
    try:
        size, checksum = write_shard(directory / name, snapshot)
        failpoint(f"{prefix}.in_save")
    except Exception as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # a full disk may not even take this
            publish(part, json.dumps({"error": f"{directory / name}: {reason}"}))
        raise
    finally:
        snapshot.release()
    publish(part, json.dumps({"file": name, "bytes": size, "checksum": checksum}))


def gather_parts(
    directory: Path, ranks: int, given_up: threading.Event
) -> dict[str, tuple[int, str]]:
    """Wait until every rank has written its part; their files, (bytes, checksum).

    Args:
        given_up: set once some rank is known to have failed, perhaps without a word.

    Raises:
        OSError: a rank could not write.
    """
    files = {}
    for rank in range(ranks):
        path = directory / _part_name(rank)
        while not path.exists():
            if given_up.wait(_POLL_SECONDS) and not path.exists():
                raise OSError(f"{directory}: rank {rank} did not write its part")
        part = json.loads(path.read_text(encoding="utf-8"))
        if "error" in part:
            raise OSError(part["error"])
        files[part["file"]] = (int(part["bytes"]), str(part["checksum"]))
        path.unlink()
    return files


def _part_name(rank: int) -> str:
    return f"part-{rank:05d}.json"
