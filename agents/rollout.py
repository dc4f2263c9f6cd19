"""Stage ``agents.rollout``: a served model plays episodes, recorded turn by turn.

Each episode is a work unit and a Ray task. A task that dies is tried again; the first
try that publishes its unit is the episode. Sampling is greedy or seeded, so every try
says the same, and the artifact holds no port, key, time or attempt number.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from agents.environments.arithmetic import AnswerGrader, Problem, problems
from agents.episode import EpisodeKey, turns
from agents.policy import Policy
from agents.protocols.react import react
from agents.summary import summarise
from agents.tools.registry import TOOLS
from clusters.config import StageConfig, execution
from clusters.failpoints import failpoint
from clusters.progress import Progress
from clusters.stage import StageContext
from clusters.units import Units
from contracts.conversation import Message
from contracts.documents import VALIDATION
from contracts.trajectory import Turn, to_table

STEP = "episode"
SLOTS = 8
"""Sequences the endpoint decodes at once. Fixed: the shapes of its matrix products follow
from it, and with them the last bits of the log-probs."""
TASK_CPUS = 0.1
"""An episode mostly waits for the endpoint."""


class RolloutConfig(StageConfig):
    """Which episodes are played, how answers are sampled, and how many run at once."""

    episodes: int = Field(48, ge=1, le=100_000)
    """Validation problems to play."""
    samples: int = Field(1, ge=1, le=64)
    """Episodes per problem; more than one makes sense above temperature 0."""
    max_turns: int = Field(4, ge=1, le=64)
    """Replies of the policy in one episode."""
    max_tokens: int = Field(48, ge=1, le=8192)
    """Tokens of one reply."""
    temperature: float = Field(0.0, ge=0.0, le=2.0)
    """0 is greedy; above it, each turn has its own seed."""
    concurrency: int = execution(4, ge=1, le=1024)
    """Episodes in flight."""
    attempts: int = execution(3, ge=1, le=100)
    """Tries of one episode before the stage gives up."""
    port: int = execution(0, ge=0, le=65535)
    """Port of the endpoint on loopback; 0 takes a free one."""


class RolloutError(Exception):
    """An episode failed on every try."""


@dataclass(frozen=True)
class Assignment:
    """One episode to play."""

    key: EpisodeKey
    problem: Problem

    @property
    def unit(self) -> str:
        """Name of its work unit."""
        return f"{STEP}/{self.key.episode_id}"


def assignments(run: str, config: RolloutConfig, seed: int) -> list[Assignment]:
    """The episodes of a run, in the order of the table."""
    return [
        Assignment(EpisodeKey(run, problem.id, sample), problem)
        for problem in problems(VALIDATION, config.episodes, seed)
        for sample in range(config.samples)
    ]


def play(assignment: Assignment, policy: Policy, units: Units, max_turns: int) -> dict[str, Any]:
    """Play one episode and publish its unit; returns timings, which no data file holds."""
    started = time.perf_counter()
    key, problem = assignment.key, assignment.problem
    if units.record(assignment.unit) is not None:  # a try that died after it published
        return {"episode_id": key.episode_id, "seconds": 0.0, "tool_ms": []}
    with units.start(assignment.unit) as unit:
        steps = []
        question = [Message(role="user", content=problem.question)]
        for step in react(question, policy, TOOLS, max_turns=max_turns, seed=key.seed):
            steps.append(step)
            failpoint("agents.rollout.between_steps")
        reward = AnswerGrader(problem)(list(steps[-1].after))
        rows = [row.model_dump() for row in turns(key, steps, reward)]
        unit.scratch("turns.json").write_text(json.dumps(rows), encoding="utf-8")
    return {
        "episode_id": key.episode_id,
        "seconds": round(time.perf_counter() - started, 4),
        "tool_ms": [s.observation.milliseconds for s in steps if s.observation is not None],
    }


def play_all(
    todo: list[Assignment],
    policy: Policy,
    units: Units,
    config: RolloutConfig,
    progress: Progress,
) -> Iterable[dict[str, Any]]:
    """Play episodes as Ray tasks, ``concurrency`` at a time; yields their timings.

    Raises:
        RolloutError: an episode failed ``attempts`` times.
    """
    import ray

    task = ray.remote(num_cpus=TASK_CPUS, max_retries=config.attempts - 1, retry_exceptions=True)(
        play
    )
    waiting = list(reversed(todo))
    running: dict[Any, Assignment] = {}
    with progress.task("episodes", len(todo), "episodes") as bar:
        while waiting or running:
            while waiting and len(running) < config.concurrency:
                one = waiting.pop()
                running[task.remote(one, policy, units, config.max_turns)] = one
            done, _ = ray.wait(list(running))
            for reference in done:
                one = running.pop(reference)
                try:
                    timing = ray.get(reference)
                except ray.exceptions.RayError as error:
                    for other in running:
                        ray.cancel(other, force=True)
                    raise RolloutError(_failure(one, config.attempts, error)) from error
                failpoint("agents.rollout.episode_done")
                bar.advance()
                yield timing


def _failure(one: Assignment, attempts: int, error: Exception) -> str:
    # RayTaskError carries the task's own exception; its text is a coloured traceback.
    cause = getattr(error, "cause", None) or error
    return (
        f"episode {one.key.episode_id} ({one.problem.question!r}) failed {attempts} times, "
        f"last by {type(cause).__name__}: {cause}"
    )


def rollout(context: StageContext) -> dict[str, Any]:
    """Play what is not played yet, then write ``trajectories.parquet`` and ``summary.json``."""
    import pyarrow.parquet as pq

    config: RolloutConfig = context.config
    # The directory is named by the fingerprint: ids then follow from what was asked.
    every = assignments(context.out.directory.name, config, context.seed)
    units = context.out.units
    pending = set(units.pending([one.unit for one in every]))
    todo = [one for one in every if one.unit in pending]
    if todo:
        _serve_and_play(context, todo)
    failpoint("agents.rollout.before_gather")
    episodes = [(one.problem, read_turns(units, one)) for one in every]
    rows = [row for _, played in episodes for row in played]
    pq.write_table(to_table(rows), context.out.path("trajectories.parquet"), compression="zstd")
    summary = summarise(episodes)
    text = json.dumps(summary, indent=1, sort_keys=True) + "\n"
    context.out.path("summary.json").write_text(text, encoding="utf-8")
    counts = {"episodes": summary["episodes"], "steps": summary["steps"]}
    return {"in": {"problems": config.episodes}, "out": counts, **summary}


def read_turns(units: Units, one: Assignment) -> list[Turn]:
    """The rows of a published episode."""
    record = units.record(one.unit)
    if record is None:
        raise RolloutError(f"episode {one.key.episode_id} is not published")
    text = units.resolve(record.scratch["turns.json"]).read_text(encoding="utf-8")
    return [Turn.model_validate(row) for row in json.loads(text)]


def _serve_and_play(context: StageContext, todo: list[Assignment]) -> None:
    from agents.endpoint import EndpointPolicy
    from serving.app import serve_model

    config: RolloutConfig = context.config
    model = context.input("model").path("model")
    with serve_model(model, model_name=context.name, port=config.port, slots=SLOTS) as endpoint:
        failpoint("agents.rollout.serving")
        policy = EndpointPolicy(endpoint, config.max_tokens, config.temperature)
        timings = play_all(todo, policy, context.out.units, config, context.progress)
        _log(context.log_dir / "episodes.jsonl", timings)


def _log(path: Path, timings: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        for timing in timings:
            file.write(json.dumps(timing) + "\n")
            file.flush()
