"""Metrics of a training run: what repeats in one file, what never repeats in another."""

import json
import math
import time
from pathlib import Path
from typing import Any

from clusters.stage import StageError
from trainer.observe.events import history
from trainer.observe.goodput import Goodput
from trainer.observe.observer import Observers, Opener
from trainer.observe.speed import Speed

LOSS_DIGITS = 6
"""Decimal places of a loss in ``metrics.jsonl``."""


class MetricsLog:
    """Rank 0's record of a run; the other ranks hold one that writes nothing.

    ``lines`` are the lines of ``metrics.jsonl`` so far: the same for every run of the
    same config. Times and events go to ``timings`` as they happen. What is no finite number,
    as a gradient norm after an overflow, is null in both: JSON has no word for it.
    """

    def __init__(
        self,
        timings: Path | None,
        artifact: str = "",
        speed: Speed | None = None,
        openers: dict[str, Opener] | None = None,
        every: int = 1,
    ) -> None:
        """Start a log.

        Args:
            timings: file that times are appended to; None on all ranks but the first.
            artifact: fingerprint of what is made: tells its events from those of other runs.
            speed: turns times into use of the hardware; None leaves that out.
            openers: observers by name, opened when there is something to tell.
            every: steps between those that observers are told.
        """
        self.lines: list[str] = []
        self._observers = Observers(openers or {}, self.say)
        self._timings = timings
        self._artifact, self._speed, self._every = artifact, speed, every
        self._goodput = Goodput.of(history(timings, artifact) if timings else [])

    def step(
        self,
        step: int,
        *,
        samples: int,
        loss: float,
        lr: float,
        grad_norm: float,
        loss_tokens: int,
        data: int,
        tokens: int,
        seconds: float,
        data_seconds: float,
        attended: float = 0.0,
    ) -> None:
        """Note a training step: ``loss`` in nats per loss token, times in seconds.

        ``data`` is the checksum of the batch: two runs with the same trained the same.
        ``attended`` is the length of the document that the mean position lies in.
        """
        self._keep(
            step=step,
            samples=samples,
            loss=round(loss, LOSS_DIGITS),
            lr=float(f"{lr:.6g}"),
            grad_norm=float(f"{grad_norm:.5g}"),
            loss_tokens=loss_tokens,
            data=data,
        )
        if self._timings is None:
            return
        figures = self._speed.figures(tokens, seconds, attended) if self._speed else {}
        self._time(
            event="step",
            step=step,
            samples=samples,
            data=data,
            loss=round(loss, 4),
            lr=float(f"{lr:.6g}"),
            grad_norm=float(f"{grad_norm:.5g}"),
            tokens_per_second=round(tokens / max(seconds, 1e-9), 1),
            step_seconds=round(seconds, 4),
            data_seconds=round(data_seconds, 5),
            **{name: float(f"{value:.5g}") for name, value in figures.items()},
        )
        if step % self._every == 0:
            self._tell(
                step,
                loss=loss,
                lr=lr,
                grad_norm=grad_norm,
                tokens_per_second=tokens / max(seconds, 1e-9),
                data_wait=data_seconds / max(seconds, 1e-9),
                goodput=self._goodput.share,
                **figures,
                **self._expected(),
            )

    def bad_step(self, step: int, batch: list[int], loss: float, data: int) -> None:
        """Note a step whose update is not applied: its sample numbers, loss and checksum."""
        self._time(event="bad_step", step=step, batch=batch, loss=loss, grad_norm=None, data=data)

    def left_out(
        self, step: int, *, samples: int, batch: list[int], loss: float, data: int
    ) -> None:
        """Note for good that a bad step's batch is left out: its sample numbers, ``samples`` the
        cursor after it, its loss in nats per loss token and its checksum.
        """
        shown = round(loss, LOSS_DIGITS) if math.isfinite(loss) else None
        self._keep(step=step, samples=samples, left_out=batch, bad_loss=shown, data=data)

    @property
    def left_out_lines(self) -> list[str]:
        """The lines so far that tell of batches left out."""
        return [line for line in self.lines if "left_out" in json.loads(line)]

    def keep_left_out(self, lines: list[str]) -> None:
        """After a rewind: keep what was told of left-out batches since the checkpoint."""
        self.lines += [line for line in lines if line not in self.lines]

    def validation(self, step: int, samples: int, losses: dict[str, float]) -> None:
        """Note validation losses per domain, in nats per token, after ``step`` steps."""
        rounded = {domain: round(loss, LOSS_DIGITS) for domain, loss in losses.items()}
        self._keep(step=step, samples=samples, validation=rounded)
        self._time(event="validation", step=step, losses=rounded)
        self._tell(step, **{f"validation/{domain}": loss for domain, loss in losses.items()})

    def saved(self, step: int, seconds: float) -> None:
        """Note how long training stood still for a checkpoint, in seconds."""
        self._time(event="saved", step=step, seconds=round(seconds, 4))

    def started(self, total_steps: int, world_size: int = 1) -> None:
        """Note that a worker group begins, and how many steps the run has."""
        header = self._speed.header() if self._speed else {}
        self._time(
            event="started",
            total_steps=total_steps,
            world_size=world_size,
            artifact=self._artifact,
            **header,
        )

    def finished(self) -> None:
        """Note that the artifact's files are written."""
        self._time(event="finished")
        self._observers.close()

    def failed(self, text: str) -> None:
        """Note why training cannot go on; a retry would fail the same way."""
        self._time(event="failed", text=text)

    def resume(self, lines: list[str], step: int, samples: int) -> None:
        """Go on from a checkpoint's lines."""
        self.lines = list(lines)
        self._time(event="resumed", step=step, samples=samples)

    def say(self, text: str) -> None:
        """Tell the driver something a user should read."""
        self._time(event="notice", text=text)

    def _keep(self, **values: Any) -> None:
        self.lines.append(_to_json(values, sort_keys=True) + "\n")

    def _tell(self, step: int, **values: float) -> None:
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._observers.scalars(step, finite)

    def _expected(self) -> dict[str, float]:
        expected = self._speed.expected if self._speed else None
        if expected is None:
            return {}
        return {"expected_tokens_per_second_per_device": expected.tokens_per_second}

    def _time(self, **values: Any) -> None:
        if self._timings is None:
            return
        event = {"time": round(time.time(), 3), **values}
        self._goodput.take(event)
        try:
            with open(self._timings, "a", encoding="utf-8") as file:
                file.write(_to_json(event) + "\n")
        except OSError as error:
            raise StageError(
                f"{self._timings}: cannot be written: {error.strerror or error}; make room, or "
                "mend its folder; the same command goes on from the last checkpoint"
            ) from error


def _to_json(values: dict[str, Any], sort_keys: bool = False) -> str:
    return json.dumps(_finite(values), sort_keys=sort_keys, allow_nan=False)


def _finite(value: Any) -> Any:
    """The value with None for every number in it that is not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
