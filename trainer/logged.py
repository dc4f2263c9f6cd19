"""A step of a run that is not finished, as its logs tell it.

The driver notes in ``logs/ATTEMPT/STAGE/job.json`` what is trained on what; rank 0 appends every
step, and every bad one, to ``timings.jsonl`` beside it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.config import ConfigError, identity
from clusters.stage import StageContext
from trainer.config import PretrainConfig
from trainer.observe.events import TIMINGS_NAME, read_events

JOB_NAME = "job.json"


@dataclass(frozen=True)
class LoggedStep:
    """What a log says of a step."""

    tokens: Path
    """Folder of the tokens artifact."""
    config: PretrainConfig
    seed: int
    line: dict[str, Any]
    """``loss``, ``grad_norm``, ``data``."""
    samples: list[int]
    left_out: int
    """Batches that were left out when this step was tried."""


def note_job(context: StageContext) -> None:
    """Write what a pretraining stage trains on what, for who traces its steps."""
    about = {
        "tokens": str(context.input("tokens").directory.absolute()),
        "config": identity(context.config),
        "seed": context.seed,
    }
    context.log_dir.mkdir(parents=True, exist_ok=True)
    (context.log_dir / JOB_NAME).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def logged_step(path: Path, step: int, left_out: int | None = None) -> LoggedStep | None:
    """The step of the newest attempt below ``runs/NAME`` or ``runs/NAME/STAGE``, if it has logs.

    Earlier attempts count where they trained the same. Of a step that was taken again the last;
    or the ``left_out``-th batch, from 1, that was left out there.

    Raises:
        ConfigError: the logs have no such step.
    """
    stage = "*" if (path / "logs").is_dir() else path.name
    run = path if stage == "*" else path.parent
    jobs = sorted(run.glob(f"logs/*/{stage}/{JOB_NAME}"))
    if not jobs:
        return None
    about = jobs[-1].read_text(encoding="utf-8")
    raw = json.loads(about)
    alike = [job for job in jobs if job.read_text(encoding="utf-8") == about]
    config = PretrainConfig.model_validate(raw["config"])
    told = (event for job in alike for event in read_events(job.parent / TIMINGS_NAME))
    events = [event for event in told if event["event"] in ("step", "bad_step")]
    bad = _left_out(events, step)
    if left_out is None:
        line, samples = _samples_of(events, config, step)
    else:
        line = chosen_batch(bad, step, left_out)
        samples = line["batch"]
    return LoggedStep(Path(raw["tokens"]), config, raw["seed"], line, samples, len(bad))


def chosen_batch(bad: list[dict[str, Any]], step: int, number: int) -> dict[str, Any]:
    """The ``number``-th, from 1, of the batches that were left out at a step.

    Raises:
        ConfigError: there are not as many.
    """
    if number > len(bad):
        raise ConfigError(
            f"--left-out {number}: {len(bad) or 'no'} batches were left out at step {step}"
        )
    return bad[number - 1]


def _left_out(events: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """Bad steps of that number, each batch once: one that a restart met again is the same."""
    bad = [event for event in events if event["event"] == "bad_step" and event["step"] == step]
    return list({tuple(event["batch"]): event for event in bad}.values())


def _samples_of(
    events: list[dict[str, Any]], config: PretrainConfig, step: int
) -> tuple[dict[str, Any], list[int]]:
    found = [event for event in events if event["step"] == step]
    if not found:
        steps = sorted({event["step"] for event in events})
        known = f"{steps[0]} to {steps[-1]}" if steps else "none"
        raise ConfigError(f"--step {step}: the run is not finished; its logs have steps: {known}")
    line = found[-1]
    if line["event"] == "bad_step":
        return line, line["batch"]
    before = [e for e in events if e["event"] == "step" and e["step"] == step - 1]
    left_out = {k for start, count in config.skip_samples for k in range(start, start + count)}
    left_out |= {k for e in events if e["event"] == "bad_step" for k in e["batch"]}
    first = before[-1]["samples"] if before else 0
    return line, [k for k in range(first, line["samples"]) if k not in left_out]
