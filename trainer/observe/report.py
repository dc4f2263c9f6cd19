"""A run in figures: its curves, medians, and what failures cost, from its own events."""

from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from clusters.config import ConfigError
from clusters.runs import RUN_NAME
from trainer.observe.events import TIMINGS_NAME, history, read_events
from trainer.observe.goodput import Goodput


@dataclass(frozen=True)
class RunReport:
    """A training run, finished or not."""

    name: str
    artifact: str
    status: str
    """``finished``, ``failed`` or ``unfinished``: from outside, running and killed look alike."""
    header: dict[str, Any]
    """Of the latest start: devices, parameters, peak FLOP/s, the plan's prediction."""
    steps: list[dict[str, Any]]
    """The events of the steps that stand, in order; a step taken again stands once."""
    validations: list[dict[str, Any]]
    goodput: Goodput
    starts: list[float] = field(default_factory=list)
    """Times at which training started or started again, seconds since the epoch."""

    def summary(self) -> dict[str, Any]:
        """One figure each, for a table or JSON; times in seconds, memory in bytes."""
        done = self.steps[-1]["step"] if self.steps else 0
        total = self.header["total_steps"]
        account = self.goodput
        return {
            "name": self.name,
            "artifact": self.artifact,
            "status": self.status,
            "step": done,
            "total_steps": total,
            "eta_seconds": None if self.status != "unfinished" else self._eta(total - done),
            **{key: value for key, value in self.header.items() if key in _SHOWN},
            "loss": self.steps[-1]["loss"] if self.steps else None,
            "grad_norm": self.steps[-1].get("grad_norm") if self.steps else None,
            "validation_first": self.validations[0]["losses"] if self.validations else {},
            "validation_last": self.validations[-1]["losses"] if self.validations else {},
            **{key: self._median(key) for key in _MEDIANS},
            "memory_bytes": max((s.get("memory_bytes", 0.0) for s in self.steps), default=0.0),
            "data_wait": self._data_wait(),
            "wall_seconds": account.wall,
            "goodput": account.share,
            "lost_seconds": account.lost,
            "restarts": account.restarts,
            "replayed_steps": account.replayed_steps,
            "seconds_by_part": dict(account.parts),
        }

    def to_json(self) -> dict[str, Any]:
        """The summary, and the curves behind it."""
        return {**self.summary(), "steps": self.steps, "validations": self.validations}

    def _median(self, key: str) -> float | None:
        values = [step[key] for step in self.steps if step.get(key) is not None]
        return median(values) if values else None

    def _data_wait(self) -> float:
        """Share of the steps' time in which the first rank waited for rows."""
        seconds = sum(step["step_seconds"] for step in self.steps)
        return sum(step["data_seconds"] for step in self.steps) / seconds if seconds else 0.0

    def _eta(self, left: int) -> float | None:
        recent = [step["step_seconds"] for step in self.steps[-50:]]
        return left * median(recent) if recent else None


_SHOWN = (
    "world_size",
    "devices",
    "parameters",
    "peak_flops_per_device",
    "peak_source",
    "expected_tokens_per_second_per_device",
    "expected_memory_bytes",
)
_MEDIANS = ("tokens_per_second", "tokens_per_second_per_device", "mfu", "hfu", "step_seconds")


def read_run(path: Path) -> RunReport:
    """Read a training run.

    Args:
        path: ``runs/NAME``, ``runs/NAME/STAGE``, or a ``timings.jsonl``.

    Raises:
        ConfigError: no training was logged there.
    """
    timings = _timings_of(path)
    artifact = ""
    for event in read_events(timings):
        if event["event"] == "started":
            artifact = event.get("artifact", "")
    events = history(timings, artifact)
    if not events:
        raise ConfigError(f"{timings}: no training has started in it")
    starts = [event for event in events if event["event"] == "started"]
    ends = [event["event"] for event in events if event["event"] in ("finished", "failed")]
    after = events[-1]["event"] in ("finished", "failed")
    return RunReport(
        name=timings.parent.name,
        artifact=artifact,
        status=ends[-1] if after else "unfinished",
        header=starts[-1],
        steps=_standing(events, "step"),
        validations=_standing(events, "validation"),
        goodput=Goodput.of(events),
        starts=[event["time"] for event in starts],
    )


def _standing(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Events of a kind without those that a resume or a rewind made undone."""
    found: list[dict[str, Any]] = []
    for event in events:
        if event["event"] == "resumed":
            found = [old for old in found if old["step"] <= event["step"]]
        elif event["event"] == kind:
            found = [old for old in found if old["step"] < event["step"]]
            found.append(event)
    return found


def _timings_of(path: Path) -> Path:
    """The newest log of the run that ``path`` stands for."""
    if path.is_file():
        return path
    if (path / RUN_NAME).is_file():
        stages = {file.parent.name for file in path.glob(f"logs/*/*/{TIMINGS_NAME}")}
        if len(stages) > 1:
            known = ", ".join(sorted(str(path / stage) for stage in stages))
            raise ConfigError(f"{path}: several trainings; name one: {known}")
        path = path / next(iter(stages), "*")
    # absolute(), not resolve(): runs/NAME/STAGE is a link into the store
    run, stage = path.absolute().parent, path.name
    found = sorted(run.glob(f"logs/*/{stage}/{TIMINGS_NAME}"))
    if not found:
        raise ConfigError(
            f"{path}: no training was logged there; give runs/NAME, runs/NAME/STAGE or a "
            f"{TIMINGS_NAME}"
        )
    return found[-1]
