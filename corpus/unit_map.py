"""Ray shell: runs a step's pending work units on the cluster, streaming as they finish."""

import errno
from collections.abc import Callable, Iterator
from typing import Any

from clusters.failpoints import failpoint
from clusters.progress import Progress
from clusters.stage import StageError
from clusters.units import Unit, Units

_CPUS_PER_UNIT = 0.8
"""Below one CPU, so that on two CPUs both workers and Ray's own tasks find room; above a
half, so that two never share one."""
_RETRIES = 5
"""Times a unit is done again after its worker or node was lost."""

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
            done[name] = units.published(name).stats
            task.advance(1, note(done[name]) if note else None)

        for name in sorted(set(full).difference(pending)):
            finish(name)
        task.resume(len(done))
        for name in _stream(units, pending, work, arguments, workers):
            failpoint(place)
            finish(name)
    return [done[name] for name in full]


def once(units: Units, place: str, make: Callable[[Unit], None]) -> None:
    """A step of one unit, ``STEP/all``, done by the driver; ``place`` as for ``map_units``."""
    name = f"{place.rsplit('.', 1)[1]}/all"
    if units.pending([name]):
        with units.start(name) as unit:
            make(unit)
    failpoint(place)


def workers_of(workers: int | None) -> int:
    """Units worked on at once: as asked, or the cluster's CPUs."""
    import ray

    return workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)


def _stream(
    units: Units, pending: list[str], work: Work, arguments: dict[str, Any], workers: int | None
) -> Iterator[str]:
    if not pending:
        return
    import ray

    limit = workers_of(workers)
    task = ray.remote(num_cpus=_CPUS_PER_UNIT, max_retries=_RETRIES)(_run_unit)
    shared = ray.put((units, work, arguments))
    waiting = iter(pending)
    running: dict[Any, str] = {}
    try:
        for name in waiting:
            running[task.remote(name, shared)] = name
            if len(running) >= limit:
                yield _next(running)
        while running:
            yield _next(running)
    finally:
        for left in running:  # after an error: the rest is published or done again by a rerun
            ray.cancel(left, force=False)


def _next(running: dict[Any, str]) -> str:
    """Name of a unit that has ended, taken out of ``running``."""
    import ray

    (ended, *_), _ = ray.wait(list(running), num_returns=1)
    name = running.pop(ended)
    try:
        ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, StageError):  # its message alone, without the task's traces
            raise error.cause from None
        raise
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise StageError(
            f"the worker died {_RETRIES + 1} times on {name}: one of its records may crash a "
            "library, or memory was short; take its file out of the sources, or give the stage "
            "fewer workers"
        ) from error
    return name


def _run_unit(name: str, shared: tuple[Units, Work, dict[str, Any]]) -> str:
    """Runs in a Ray worker. A unit that a lost attempt has published is not done again."""
    units, work, arguments = shared
    if units.pending([name]):
        with units.start(name) as unit:
            _do(unit, name, work, arguments)
    return name


def _do(unit: Unit, name: str, work: Work, arguments: dict[str, Any]) -> None:
    try:
        work(unit, name.split("/", 1)[1], **arguments)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StageError(
            f"the disk is full: {error.strerror or error} while working on {name}; free some "
            "space in the store and run the same command again: what is done is kept"
        ) from error
