"""Progress of long work: bars with ETA on a terminal, plain lines elsewhere and in the log."""

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
    """One piece of long work with a known or unknown end, as plain lines."""

    def __init__(self, title: str, total: int | None, unit: str, sinks: list[TextIO]) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.done = 0
        self.note = ""
        self._before = 0
        self._sinks = sinks
        self._started = self._printed = time.monotonic()

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count ``amount`` more units; ``note`` replaces the text at the end."""
        self.update(self.done + amount, note)

    def resume(self, done: int) -> None:
        """Say that ``done`` units were there before: they count, but not towards the rate."""
        self._before = done
        self._started = time.monotonic()
        self.update(done)

    def update(self, done: int, note: str | None = None) -> None:
        """Set how many units are done."""
        self.done = done
        if note is not None:
            self.note = note
        if time.monotonic() - self._printed >= PLAIN_SECONDS:
            self.print_line()

    def print_line(self) -> None:
        """Print where the work stands, now."""
        self._printed = time.monotonic()
        _print(self._sinks, f"  {self.line()}")

    def line(self) -> str:
        """The state as one plain line, with rate and ETA."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = (self.done - self._before) / seconds
        text = f"{self.title}: {self.done}"
        if self.total:
            text += f"/{self.total} {self.unit} ({100 * self.done / self.total:.0f} %)"
            if rate > 0 and self.done < self.total:
                text += f", ETA {(self.total - self.done) / rate:.0f} s"
        else:
            text += f" {self.unit}"
        text += f", {rate:.3g} {self.unit}/s"
        return f"{text}, {self.note}" if self.note else text


class _BarTask(Task):
    """The same on a terminal, as a bar."""

    def __init__(
        self, title: str, total: int | None, unit: str, sinks: list[TextIO], bars: RichProgress
    ) -> None:
        super().__init__(title, total, unit, sinks)
        self._bars = bars
        self._bar = bars.add_task(title, total=total, note="", unit=unit)

    def resume(self, done: int) -> None:
        super().resume(done)
        self._bars.reset(self._bar, total=self.total, completed=done)

    def update(self, done: int, note: str | None = None) -> None:
        super().update(done, note)
        self._bars.update(self._bar, completed=done, note=self.note)


class Progress:
    """Where a stage reports how far it is: the console, and the run's log."""

    def __init__(self, stream: TextIO | None = None, log: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.log = log

    @contextlib.contextmanager
    def task(self, title: str, total: int | None = None, unit: str = "items") -> Iterator[Task]:
        """Report on one piece of work while the block runs."""
        if not self.stream.isatty():
            plain = Task(title, total, unit, self._sinks(console=True))
            yield plain
            plain.print_line()
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
            bar = _BarTask(title, total, unit, self._sinks(console=False), bars)
            yield bar
            bar.print_line()

    def say(self, text: str) -> None:
        """Print one line."""
        _print(self._sinks(console=True), f"  {text}")

    def note(self, text: str) -> None:
        """Print one line to the log alone."""
        _print(self._sinks(console=False), text)

    def heading(self, text: str) -> None:
        """Print the line that opens a stage."""
        _print(self._sinks(console=True), text)

    def _sinks(self, console: bool) -> list[TextIO]:
        sinks = [self.stream] if console else []
        return [*sinks, self.log] if self.log else sinks


def _print(sinks: list[TextIO], text: str) -> None:
    for sink in sinks:
        print(text, file=sink, flush=True)
