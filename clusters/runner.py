"""Runs a plan: each stage once, what is already there is kept, every kill is resumed."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from clusters import runs
from clusters.artifact import Artifact
from clusters.connect import Where, connect
from clusters.execute import execute, find, fingerprint_of
from clusters.preflight import Machine, check
from clusters.progress import Progress
from clusters.recipe import Plan, PlannedStage


class Stopped(BaseException):
    """The run was asked to stop (SIGTERM or Ctrl-C); no `except Exception` takes it."""


@dataclass
class Forecast:
    """What would happen to a stage if the plan ran now."""

    name: str
    stage: str
    action: str
    """``keep``, ``run``, or ``run, its inputs change``."""
    fingerprint: str | None
    artifact: Artifact | None = field(default=None, repr=False)


def forecast(plan: Plan, only: list[str] | None = None) -> list[Forecast]:
    """Say what ``run`` would do, without doing it."""
    wanted = plan.needed_for(only) if only else {p.name for p in plan.stages}
    found: dict[str, Artifact] = {}
    rows = []
    for planned in plan.stages:
        if planned.name not in wanted:
            continue
        if not all(parent in found for parent in planned.parents):
            rows.append(Forecast(planned.name, planned.stage.name, "run, its inputs change", None))
            continue
        asked = _asked(plan, planned, _inputs(planned, found))
        artifact = find(planned.stage, plan.recipe.store, asked)
        if artifact is not None:
            found[planned.name] = artifact
        action = "keep" if artifact else "run"
        rows.append(Forecast(planned.name, planned.stage.name, action, asked, artifact))
    return rows


def run(plan: Plan, where: Where, only: list[str] | None = None, job: str | None = None) -> Path:
    """Run what is not there yet; returns the run's folder.

    Raises:
        ConfigError: a stage does not fit this machine; nothing was started.
        Stopped: asked to stop; the record says so.
    """
    recipe = plan.recipe
    wanted = plan.needed_for(only) if only else {p.name for p in plan.stages}
    directory = recipe.runs / recipe.name
    to_run = {row.name for row in forecast(plan, only) if row.action != "keep"}
    with contextlib.ExitStack() as stack:
        if where == "embedded":
            _check_all_fit(plan, to_run, Machine.here(recipe.store, recipe.cluster.num_cpus))
        elif to_run:
            stack.enter_context(connect(where, recipe.cluster))
            _check_all_fit(plan, to_run, Machine.cluster(recipe.store))
        stack.enter_context(runs.driving(directory))
        stack.enter_context(_stop_on_sigterm())
        record = runs.new_record(recipe.name, plan.path, job)
        record.stages = _entries(plan, wanted, directory)
        logs = directory / "logs" / record.id
        logs.mkdir(parents=True)
        log = stack.enter_context(open(logs / "driver.log", "w", encoding="utf-8"))
        progress = Progress(sys.stderr, log)
        _Execution(plan, where, directory, logs, record, progress, stack).run(wanted)
    return directory


@dataclass
class _Execution:
    """One invocation of a plan."""

    plan: Plan
    where: Where
    directory: Path
    logs: Path
    record: runs.RunRecord
    progress: Progress
    stack: contextlib.ExitStack
    done: dict[str, Artifact] = field(default_factory=dict)

    def run(self, wanted: set[str]) -> None:
        """Run the wanted stages in order; the record says how it ended."""
        started = time.monotonic()
        runs.save(self.directory, self.record)
        try:
            for planned in self.plan.stages:
                if planned.name in wanted:
                    self.step(planned)
            self.record.status = "finished"
        except (KeyboardInterrupt, Stopped) as error:
            self.record.status = "stopped"
            name = self.record.name
            raise Stopped(f"run {name!r} was stopped; the same command goes on") from error
        except Exception as error:
            self.record.status = "failed"
            self.progress.note(f"{type(error).__name__}: {error}")
            raise
        finally:
            self.record.seconds = round(time.monotonic() - started, 1)
            runs.save(self.directory, self.record)

    def step(self, planned: PlannedStage) -> None:
        """Run or keep one stage and record it."""
        recipe = self.plan.recipe
        entry = self.record.stages[planned.name]
        inputs = _inputs(planned, self.done)
        asked = _asked(self.plan, planned, inputs)
        entry.fingerprint = asked
        artifact = find(planned.stage, recipe.store, asked)
        entry.status = "kept" if artifact else "running"
        if artifact is None:
            runs.save(self.directory, self.record)
            self.progress.heading(f"{planned.name} ({planned.stage.name})")
            try:
                artifact = self._make(planned, inputs, asked)
            except (KeyboardInterrupt, Stopped):
                entry.status = "waiting"
                raise
            except Exception as error:
                entry.status, entry.error = "failed", str(error)
                raise
            entry.status = "done"
            self.progress.say(f"done in {artifact.manifest.seconds:.1f} s")
        else:
            self.progress.heading(f"{planned.name} ({planned.stage.name}): there already")
        self.done[planned.name] = artifact
        self._fill(entry, artifact)
        runs.link(self.directory, planned.name, artifact)
        runs.save(self.directory, self.record)

    def _make(
        self, planned: PlannedStage, inputs: dict[str, list[Artifact]], asked: str
    ) -> Artifact:
        recipe = self.plan.recipe
        if planned.stage.needs_ray:
            self.stack.enter_context(connect(self.where, recipe.cluster))
        return execute(
            planned.stage,
            planned.config,
            inputs,
            self.plan.external(planned),
            store=recipe.store,
            wanted=asked,
            seed=recipe.seed,
            run=recipe.name,
            name=planned.name,
            log_dir=(self.logs / planned.name).absolute(),  # workers run in other folders
            scores_url=recipe.scores_url,
            progress=self.progress,
        )

    def _fill(self, entry: runs.StageRecord, artifact: Artifact) -> None:
        manifest = artifact.manifest
        entry.digest = manifest.digest
        entry.path = os.path.relpath(artifact.directory, self.directory)
        entry.seconds = manifest.seconds
        entry.inputs = runs.counts(manifest.stats, "in")
        entry.outputs = runs.counts(manifest.stats, "out")


def _entries(plan: Plan, wanted: set[str], directory: Path) -> dict[str, runs.StageRecord]:
    """Blank records of the wanted stages; the others keep what an earlier run made of them."""
    before = runs.load(directory).stages if (directory / runs.RUN_NAME).exists() else {}
    entries = {}
    for planned in plan.stages:
        name, stage = planned.name, planned.stage
        if name in wanted:
            entries[name] = runs.StageRecord(stage=stage.name, kind=stage.output, status="waiting")
        elif name in before:
            entries[name] = before[name]
    return entries


def _inputs(planned: PlannedStage, done: dict[str, Artifact]) -> dict[str, list[Artifact]]:
    return {role: [done[name] for name in names] for role, names in planned.inputs.items()}


def _asked(plan: Plan, planned: PlannedStage, inputs: dict[str, list[Artifact]]) -> str:
    seed = plan.recipe.seed
    return fingerprint_of(planned.stage, planned.config, inputs, plan.external(planned), seed)


def _check_all_fit(plan: Plan, to_run: set[str], machine: Machine) -> None:
    for planned in plan.stages:
        if planned.name in to_run:
            check(planned.name, planned.stage.requires(planned.config), machine)


@contextlib.contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the run in order, as Ctrl-C does."""

    def stop(signum: int, frame: FrameType | None) -> Any:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
