"""Shows the driver what rank 0 notes in its timings file, while it is written."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clusters.progress import Progress, Task

_POLL_SECONDS = 0.5


class Follower:
    """Reads a growing JSONL file from where it ended, and moves a progress bar."""

    def __init__(self, path: Path, task: Task, progress: Progress) -> None:
        self._path = path
        self._task = task
        self._progress = progress
        self._offset = path.stat().st_size if path.exists() else 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follow-timings", daemon=True)
        self.finished = False
        self.failure: str | None = None

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Follow while the block runs, and to the end of the file after it."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
            self._read()

    def _run(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            self._read()

    def _read(self) -> None:
        if not self._path.exists():
            return
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                self._handle(json.loads(line))
            except ValueError:  # a line cut by a killed worker
                continue

    def _handle(self, entry: dict[str, Any]) -> None:
        event = entry.get("event")
        if event == "started":
            self._task.total = entry["total_steps"]
        elif event == "step":
            note = f"loss {entry['loss']:.3f}, {entry['tokens_per_second']:,.0f} tokens/s"
            if "mfu" in entry:
                note += f", MFU {entry['mfu']:.0%}"
            self._task.update(entry["step"], note)
        elif event == "resumed":
            self._progress.say(f"resumed at step {entry['step']}, sample {entry['samples']}")
            self._task.resume(entry["step"])
        elif event == "notice":
            self._progress.say(entry["text"])
        elif event == "failed":
            self.failure = entry["text"]
        elif event == "finished":
            self.finished = True
