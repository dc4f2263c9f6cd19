"""Plays episodes as Ray tasks, so many at a time, each tried again where it dies."""

from collections.abc import Iterator
from typing import Any

from agents.assignment import Assignment, RolloutError, play
from agents.policy import Policy
from clusters.failpoints import failpoint
from clusters.progress import Progress
from clusters.units import Units

TASK_CPUS = 0.1
"""An episode mostly waits for the endpoint."""


def play_all(
    todo: list[Assignment],
    policy: Policy,
    units: Units,
    progress: Progress,
    *,
    max_turns: int,
    concurrency: int,
    attempts: int,
) -> Iterator[dict[str, Any]]:
    """Play every episode on the connected Ray; yields timings as they end.

    Raises:
        RolloutError: an episode failed ``attempts`` times.
    """
    import ray

    task = ray.remote(num_cpus=TASK_CPUS, max_retries=attempts - 1, retry_exceptions=True)(play)
    waiting = list(reversed(todo))
    running: dict[Any, Assignment] = {}
    try:
        with progress.task("episodes", len(todo), "episodes") as bar:
            while waiting or running:
                while waiting and len(running) < concurrency:
                    one = waiting.pop()
                    running[task.remote(one, policy, units, max_turns)] = one
                done, _ = ray.wait(list(running))
                for reference in done:
                    yield _timing(reference, running.pop(reference), attempts)
                    bar.advance()
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _timing(reference: Any, one: Assignment, attempts: int) -> dict[str, Any]:
    import ray

    try:
        timing: dict[str, Any] = ray.get(reference)
    except ray.exceptions.RayError as error:
        # RayTaskError carries the task's own exception; its text is a coloured traceback.
        cause = getattr(error, "cause", None) or error
        raise RolloutError(
            f"episode {one.key.episode_id} ({one.problem.question!r}) failed {attempts} times, "
            f"last by {type(cause).__name__}: {cause}"
        ) from error
    failpoint("agents.rollout.episode_done")
    return timing
