"""Where the wall time of a run went, and what share of it failures cost.

Every event of ``timings.jsonl`` closes an interval that began with the event before it; the
event says what the interval was spent on. So the parts add up to the wall time exactly, over
restarts of workers and of drivers. Goodput is the share of the wall time that was not lost:

    goodput = 1 - (down + loading + replayed) / wall

``down`` is the time from the last sign of a run that died to the next one's start, ``loading``
the reading of a checkpoint, ``replayed`` steps, validations and saves that a restart or a
rewind made undone. The measure is that of Google's ML Goodput ("Introducing ML Productivity
Goodput", 2024) without its share for slow programs, which is the MFU.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_SPENT_ON = {
    "step": "training",
    "validation": "validating",
    "saved": "saving",
    "resumed": "loading",
    "finished": "finishing",
}
LOST = ("down", "loading", "replayed")
"""Parts that a run without failures would not have."""


@dataclass
class Goodput:
    """Adds up a run's time from its events, in the order in which they happened."""

    parts: dict[str, float] = field(default_factory=dict)
    """Seconds by what they were spent on."""
    restarts: int = 0
    """Times that training began again after it had begun."""
    replayed_steps: int = 0
    """Steps that had to be taken again."""
    _last: float | None = None
    _kept: list[tuple[int, str, float]] = field(default_factory=list)
    """(step, part, seconds) of what stands so far."""

    @classmethod
    def of(cls, events: Iterable[dict[str, Any]]) -> "Goodput":
        """The account of a run's events."""
        account = cls()
        for event in events:
            account.take(event)
        return account

    def take(self, event: dict[str, Any]) -> None:
        """Count the interval that ``event`` closes."""
        first = self._last is None
        seconds = 0.0 if self._last is None else max(0.0, event["time"] - self._last)
        self._last = event["time"]
        kind, step = event["event"], event.get("step", 0)
        if kind == "started":
            self.restarts += not first
            self._add("down", seconds)
            return
        if kind == "resumed":
            self._undo(step)
        elif kind == "step":
            self._undo(step - 1)
        part = _SPENT_ON.get(kind, "other")
        if kind in ("step", "validation", "saved"):
            self._kept.append((step, part, seconds))
        self._add(part, seconds)

    @property
    def wall(self) -> float:
        """Seconds from the first event to the last."""
        return sum(self.parts.values())

    @property
    def lost(self) -> float:
        """Seconds that failures cost."""
        return sum(self.parts.get(part, 0.0) for part in LOST)

    @property
    def share(self) -> float:
        """Goodput: the share of the wall time that was not lost; 1 before there is any."""
        return 1.0 - self.lost / self.wall if self.wall > 0 else 1.0

    def _add(self, part: str, seconds: float) -> None:
        self.parts[part] = self.parts.get(part, 0.0) + seconds

    def _undo(self, step: int) -> None:
        """What was done after ``step`` has to be done again."""
        while self._kept and self._kept[-1][0] > step:
            _, part, seconds = self._kept.pop()
            self.replayed_steps += part == "training"
            self.parts[part] -= seconds
            self._add("replayed", seconds)
