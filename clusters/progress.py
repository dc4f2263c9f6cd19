"""Progress of long work: bars with ETA on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

PLAIN_SECONDS = 10.0


class Task:
    """One piece of long work with a known or unknown end."""

    def __init__(self, title: str, total: int | None, unit: str) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.done = 0
        self.note = ""
        self.started = time.monotonic()

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count ``amount`` more units; ``note`` replaces the text behind the bar."""
        self.update(self.done + amount, note)

    def update(self, done: int, note: str | None = None) -> None:
        """Set how many units are done."""
        self.done = done
        if note is not None:
            self.note = note
        self._show()

    def _show(self) -> None:
        pass

    def line(self) -> str:
        """The state as one plain line, with rate and ETA."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = self.done / seconds
        text = f"{self.title}: {self.done}"
        if self.total:
            text += f"/{self.total} {self.unit} ({100 * self.done / self.total:.0f} %)"
            if 0 < self.done < self.total:
                text += f", ETA {(self.total - self.done) / rate:.0f} s"
        else:
            text += f" {self.unit}"
        text += f", {rate:.3g} {self.unit}/s"
        return f"{text}, {self.note}" if self.note else text


class _PlainTask(Task):
    def __init__(self, title: str, total: int | None, unit: str, stream: TextIO) -> None:
        super().__init__(title, total, unit)
        self._stream = stream
        self._printed = time.monotonic()

    def _show(self) -> None:
        if time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            print(f"  {self.line()}", file=self._stream, flush=True)


class _RichTask(Task):
    def __init__(self, title: str, total: int | None, unit: str, bars: RichProgress) -> None:
        super().__init__(title, total, unit)
        self._bars = bars
        self._id = bars.add_task(title, total=total, note="", unit=unit)

    def _show(self) -> None:
        self._bars.update(self._id, completed=self.done, note=self.note)


class Progress:
    """Where a stage reports how far it is."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr

    @contextlib.contextmanager
    def task(self, title: str, total: int | None = None, unit: str = "items") -> Iterator[Task]:
        """Report on one piece of work while the block runs."""
        if not self.stream.isatty():
            plain = _PlainTask(title, total, unit, self.stream)
            yield plain
            print(f"  {plain.line()}", file=self.stream, flush=True)
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with RichProgress(*columns, console=Console(file=self.stream)) as bars:
            yield _RichTask(title, total, unit, bars)

    def say(self, text: str) -> None:
        """Print one line."""
        print(f"  {text}", file=self.stream, flush=True)
