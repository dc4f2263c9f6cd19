"""One episode to play: which, how, and where its rows are published. Ray-free."""

import json
import time
from dataclasses import dataclass
from typing import Any

from agents.environments.arithmetic import AnswerGrader, Problem, problems
from agents.episode import EpisodeKey, turns
from agents.policy import Policy
from agents.protocols.react import react
from agents.tools.registry import TOOLS
from clusters.failpoints import failpoint
from clusters.stage import StageError
from clusters.units import Units
from contracts.conversation import Message
from contracts.documents import VALIDATION
from contracts.trajectory import Turn

STEP = "episode"


class RolloutError(StageError):
    """An episode failed on every try, or its rows are not there."""


@dataclass(frozen=True)
class Assignment:
    """One episode to play."""

    key: EpisodeKey
    problem: Problem

    @property
    def unit(self) -> str:
        """Name of its work unit."""
        return f"{STEP}/{self.key.episode_id}"


def assignments(run: str, *, episodes: int, samples: int, seed: int) -> list[Assignment]:
    """``samples`` episodes of each of ``episodes`` validation problems, in table order."""
    return [
        Assignment(EpisodeKey(run, problem.id, sample), problem)
        for problem in problems(VALIDATION, episodes, seed)
        for sample in range(samples)
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


def read_turns(units: Units, one: Assignment) -> list[Turn]:
    """The rows of a published episode.

    Raises:
        RolloutError: it is not published.
    """
    record = units.record(one.unit)
    if record is None:
        raise RolloutError(f"episode {one.key.episode_id} is not published")
    text = units.resolve(record.scratch["turns.json"]).read_text(encoding="utf-8")
    return [Turn.model_validate(row) for row in json.loads(text)]
