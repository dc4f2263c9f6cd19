"""Ray shell: runs a step's pending work units on the cluster, streaming as they finish."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from clusters.failpoints import failpoint
from clusters.progress import Progress
from clusters.units import Unit, Units

_CPUS_PER_UNIT = 0.8
"""Below one CPU, so that on two CPUs both workers and Ray's own tasks find room; above a
half, so that two never share one."""

Work = Callable[..., None]
"""``work(unit, name, **arguments)``: does one unit; a module-level function."""


def map_units(
    units: Units,
    place: str,
    names: list[str],
    work: Work,
    arguments: dict[str, Any],
    *,
    workers: int | None,
    progress: Progress,
    note: Callable[[dict[str, Any]], str] | None = None,
) -> list[dict[str, Any]]:
    """Do the units ``STEP/NAME`` that are not published yet; stats of all, by name.

    ``place`` is ``ROOM.STAGE.STEP``: the failpoint in the driver after each unit. Each unit
    is published by the worker that did it. ``note`` sees each finished unit's stats once and
    gives the live line; what it raises stops the step.
    """
    step = place.rsplit(".", 1)[1]
    full = [f"{step}/{name}" for name in names]
    pending = units.pending(full)
    done: dict[str, dict[str, Any]] = {}
    with progress.task(step, len(full), "shards") as task:

        def finish(name: str) -> None:
            done[name] = stats_of(units, name)
            task.advance(1, note(done[name]) if note else None)

        for name in sorted(set(full).difference(pending)):
            finish(name)
        for name in _stream(units, pending, work, arguments, workers):
            failpoint(place)
            finish(name)
    return [done[name] for name in full]


def stats_of(units: Units, name: str) -> dict[str, Any]:
    """Stats of a published unit."""
    record = units.record(name)
    if record is None:
        raise RuntimeError(f"unit {name} ended without a record")
    return record.stats


def _stream(
    units: Units, pending: list[str], work: Work, arguments: dict[str, Any], workers: int | None
) -> Iterator[str]:
    if not pending:
        return
    import ray
    from ray.data import TaskPoolStrategy

    workers = workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
    workers = min(workers, len(pending))
    run = partial(_run_unit, units=units, work=work, arguments=arguments)
    with _quiet_ray_data():
        dataset = ray.data.from_items(
            [{"name": name} for name in pending], override_num_blocks=len(pending)
        ).map(
            run,
            compute=TaskPoolStrategy(size=workers),
            num_cpus=_CPUS_PER_UNIT,
        )
        for row in dataset.iter_rows():
            yield row["name"]


def _run_unit(
    row: dict[str, Any], units: Units, work: Work, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Runs in a Ray worker. A unit that a lost attempt has published is not done again."""
    name = row["name"]
    if units.pending([name]):
        with units.start(name) as unit:
            _do(unit, name, work, arguments)
    return {"name": name}


def _do(unit: Unit, name: str, work: Work, arguments: dict[str, Any]) -> None:
    work(unit, name.split("/", 1)[1], **arguments)


@contextlib.contextmanager
def _quiet_ray_data() -> Iterator[None]:
    """Ray Data's own progress bars and plan notes off, for this block only."""
    from ray.data import DataContext

    context = DataContext.get_current()
    logger = logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])
