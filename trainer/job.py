"""What every rank of a training stage is told, and what it does with it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clusters.artifact import ArtifactWriter
from clusters.config import identity
from trainer.checkpoint import METRICS_NAME, CheckpointError, CheckpointStore, Policy
from trainer.config import CheckpointConfig, TrainConfig
from trainer.cursor import Ranges
from trainer.data.rows import RowSource
from trainer.loop import LoopPlan, train
from trainer.metrics import MetricsLog
from trainer.observe.measure import speed_of
from trainer.observe.memory import PeakMemory
from trainer.observe.observer import Observer, openers
from trainer.parallel.choose import compile_decision, make_stepper
from trainer.parallel.device import rank_device
from trainer.parallel.stepper import Stepper

TRAINER_NAME = "trainer.json"
MODEL_NAME = "model"


@dataclass(frozen=True)
class Prepared:
    """An objective's data and model, in this process."""

    source: RowSource
    model: Any
    total_steps: int
    counts: dict[str, int]
    """What goes in: tokens, conversations, rows."""
    summary: dict[str, Any]
    """What ``trainer.json`` says beside the common fields."""


class Objective(Protocol):
    """What is trained on what: a picklable description that each rank prepares alike."""

    @property
    def name(self) -> str:
        """The stage's name without the room."""
        ...

    @property
    def config(self) -> TrainConfig:
        """The stage's config."""
        ...

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer's files."""
        ...

    def prepare(self) -> Prepared:
        """Open the data and make or load the model."""
        ...


@dataclass(frozen=True)
class Job:
    """One training stage. Picklable."""

    objective: Objective
    seed: int
    out: ArtifactWriter
    timings: Path
    """Rank 0 appends times and events here; the driver follows it."""

    @property
    def prefix(self) -> str:
        """Name of the stage, also the prefix of its failpoints."""
        return f"trainer.{self.objective.name}"


def run_rank(
    job: Job,
    leaving: Callable[[], bool] = lambda: False,
    gauges: Callable[[str], Observer] | None = None,
) -> None:
    """Train as one rank and, on rank 0, write the artifact's files.

    With one worker this runs in the stage's own process; with more, torch.distributed
    must be initialised.

    Args:
        leaving: asked by all ranks after each step: whether a node is about to go.
        gauges: makes an observer for the run of a name, beside those of the config.
    """
    import torch
    from safetensors import SafetensorError

    from trainer.models.llama import save_about

    config = job.objective.config
    torch.set_num_threads(config.parallel.threads)
    prepared = job.objective.prepare()
    prepared.model.to(rank_device(config.parallel))
    memory = PeakMemory(prepared.model)
    stepper = make_stepper(config, prepared.model)
    plan = loop_plan(job, prepared.total_steps, stepper)
    log = _open_log(job, prepared, stepper, memory, gauges)
    log.started(plan.total_steps, stepper.world_size)
    notice = compile_decision(config, prepared.model)[1]
    if notice:
        log.say(notice)
    checkpoints = CheckpointStore(
        job.out.state_dir, prefix=job.prefix, policy=_policy(config.checkpoint)
    )
    if stepper.rank == 0:
        save_about(prepared.model, job.out.state_dir / MODEL_NAME, job.objective.tokenizer)
    skipped = train(plan, prepared.source, stepper, checkpoints, log, leaving)
    weights = stepper.weights()
    if stepper.rank == 0:
        try:
            _write(job, prepared, plan, checkpoints.world_sizes, skipped, weights, log)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"the finished model could not be written below {job.out.directory}: {error}; "
                "make room, or mend its folder; the same command goes on from the last checkpoint"
            ) from error
        log.finished()
    stepper.share(None)


def _open_log(
    job: Job,
    prepared: Prepared,
    stepper: Stepper,
    memory: PeakMemory,
    gauges: Callable[[str], Observer] | None,
) -> MetricsLog:
    """Rank 0's log, with all that watches the run; the other ranks' writes nothing."""
    if stepper.rank:
        return MetricsLog(None)
    config = job.objective.config
    artifact = job.out.directory.name
    run = f"{job.timings.parent.name}-{artifact[:12]}"
    told = openers(config.observe, job.timings.parent, run)
    if gauges is not None and config.observe.ray_metrics:
        told["ray_metrics"] = lambda step: gauges(run)
    length = prepared.source.row_length
    speed = speed_of(config, prepared.model, memory, stepper.world_size, length)
    return MetricsLog(job.timings, artifact, speed, told, config.observe.every)


def loop_plan(job: Job, total_steps: int, stepper: Stepper) -> LoopPlan:
    """The loop's plan for a job on these ranks."""
    config = job.objective.config
    return LoopPlan(
        total_steps=total_steps,
        batch=config.batch,
        micro_batch=config.rows_per_pass(stepper.data_ranks),
        validation_every=config.validation_every,
        checkpoint_every=config.checkpoint_every,
        optimiser=config.optimiser,
        prefix=job.prefix,
        bad_steps=config.bad_steps,
        skipped=tuple(config.skip_samples),
        may_overflow=config.precision == "fp16",
        bad_folder=job.timings.parent / "bad-steps",
    )


def _policy(config: CheckpointConfig) -> Policy:
    return Policy(config.keep_last, config.keep_every, config.asynchronous)


def _write(
    job: Job,
    prepared: Prepared,
    plan: LoopPlan,
    world_sizes: list[tuple[int, int]],
    skipped: Ranges,
    weights: dict[str, Any],
    log: MetricsLog,
) -> None:
    from trainer.models.llama import save_about, save_model

    config = job.objective.config
    directory = job.out.path(f"{MODEL_NAME}/config.json").parent
    save_about(prepared.model, directory, job.objective.tokenizer)
    save_model(prepared.model, weights, directory)
    job.out.path(METRICS_NAME).write_text("".join(log.lines), encoding="utf-8")
    summary = {
        "objective": job.objective.name,
        "step": plan.total_steps,
        "samples": json.loads(log.lines[-1])["samples"],
        "in": prepared.counts,
        "world_size": world_sizes[-1][1],
        "world_sizes": world_sizes,
        "skipped": skipped,
        "parameters": sum(p.numel() for p in prepared.model.parameters()),
        "seed": job.seed,
        "config": identity(config),
        **prepared.summary,
    }
    text = json.dumps(summary, indent=1, sort_keys=True) + "\n"
    job.out.path(TRAINER_NAME).write_text(text, encoding="utf-8")
