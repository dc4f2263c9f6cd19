"""The Ray shell: a few actors take jobs from a queue until none is left."""

from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.util import ActorPool

from clusters.artifact import ArtifactError
from clusters.stage import StageError
from clusters.units import Units
from evaluation.jobs import EngineCache, Job, run_job

_RESTARTS = 3
"""Times a killed worker comes back; its job is done again."""


class _Worker:
    def __init__(self, units: Units, slots: int) -> None:
        self._units = units
        self._cache = EngineCache(slots)

    def run(self, job: Job) -> int:
        return run_job(job, self._cache, self._units)


def run_jobs(
    jobs: Sequence[Job], units: Units, *, slots: int, workers: int, cpus_per_worker: float
) -> Iterator[int]:
    """Run jobs on ``workers`` actors; yields the number of rows as each one is published.

    Raises:
        StageError: a benchmark cannot be put to a model.
        ArtifactError: a model cannot be opened.
    """
    count = min(workers, len(jobs))
    if count == 0:
        return
    worker: Any = ray.remote(
        num_cpus=cpus_per_worker, max_restarts=_RESTARTS, max_task_retries=_RESTARTS
    )(_Worker)
    actors = [worker.remote(units, slots) for _ in range(count)]
    try:
        pool: Any = ActorPool(actors)
        yield from pool.map_unordered(lambda actor, job: actor.run.remote(job), jobs)
    except ray.exceptions.RayTaskError as error:
        # Ray's text is a whole traceback; what a user can act on is raised as it was.
        if isinstance(error.cause, StageError | ArtifactError):
            raise error.cause from error
        raise
    finally:
        for actor in actors:
            ray.kill(actor)
