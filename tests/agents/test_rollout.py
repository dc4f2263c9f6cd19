import json
import os
import signal
from pathlib import Path

import pytest

from agents.assignment import Assignment, RolloutError, assignments, play, read_turns
from agents.demonstrate import Expert
from agents.environments.arithmetic import problems
from agents.policy import PolicyRefused
from agents.rollout import RolloutConfig
from agents.workers import play_all
from clusters.config import identity
from clusters.progress import Progress
from clusters.units import Units

EXPERTS = {p.question: Expert(p) for p in problems("validation", 400, 3)}


def expert(messages, tools, seed):
    return EXPERTS[messages[0].content](messages, tools, seed)


def refuses(messages, tools, seed):
    raise PolicyRefused("prompt of 900 tokens does not fit a context of 512")


class DiesOnce:
    """Kills its worker on the first ask after ``token`` was laid."""

    def __init__(self, token: Path) -> None:
        self.token = token

    def __call__(self, messages, tools, seed):
        if self.token.exists() and messages[-1].role == "tool":
            self.token.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return expert(messages, tools, seed)


class FailsAlways:
    def __call__(self, messages, tools, seed):
        raise ConnectionError("nobody answers")


def some(count: int) -> list[Assignment]:
    return assignments("run", episodes=count, samples=1, seed=3)


def play_some(every, policy, units):
    settings = {"max_turns": 4, "concurrency": 3, "attempts": 2}
    return list(play_all(every, policy, units, Progress(), **settings))


def rows_of(units, every):
    return [[turn.model_dump() for turn in read_turns(units, one)] for one in every]


def test_assignments_are_pure_and_never_train():
    every = assignments("run", episodes=30, samples=3, seed=5)
    assert every == assignments("run", episodes=30, samples=3, seed=5)
    assert len({one.key.episode_id for one in every}) == 90
    assert len({one.key.group_id for one in every}) == 30
    assert {one.problem for one in every} <= set(problems("validation", 983, 5))


def test_how_it_runs_is_not_what_is_asked():
    asked = identity(RolloutConfig())
    elsewhere = identity(RolloutConfig(concurrency=9, attempts=7, port=8123))
    assert asked == elsewhere
    assert asked != identity(RolloutConfig(temperature=0.5))


def test_an_episode_is_published_once_with_its_reward(tmp_path):
    (one,) = some(1)
    units = Units(tmp_path)
    timing = play(one, expert, units, 4)
    assert units.pending([one.unit]) == []
    first, second = read_turns(units, one)
    assert (first.status, second.status, second.reward) == ("tool_call", "final", 1.0)
    assert timing["episode_id"] == one.key.episode_id
    assert "tool_ms" not in json.dumps([first.reply, second.reply])


def test_a_refused_episode_is_an_episode(tmp_path):
    (one,) = some(1)
    play(one, refuses, Units(tmp_path), 4)
    (turn,) = read_turns(Units(tmp_path), one)
    assert (turn.status, turn.reward) == ("error", 0.0)
    assert "512" in json.loads(turn.result_json)


def test_a_failing_policy_publishes_nothing(tmp_path):
    (one,) = some(1)
    with pytest.raises(ConnectionError):
        play(one, FailsAlways(), Units(tmp_path), 4)
    assert Units(tmp_path).pending([one.unit]) == [one.unit]
    with pytest.raises(RolloutError, match="not published"):
        read_turns(Units(tmp_path), one)


@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_changes_nothing(tmp_path):
    every = some(12)
    token = tmp_path / "token"
    token.touch()
    alone, crowded = Units(tmp_path / "alone"), Units(tmp_path / "crowded")
    for one in every:
        play(one, expert, alone, 4)
    timings = play_some(every, DiesOnce(token), crowded)
    assert not token.exists()  # a worker really died
    assert len(timings) == len({timing["episode_id"] for timing in timings}) == 12
    assert rows_of(crowded, every) == rows_of(alone, every)


@pytest.mark.usefixtures("ray_session")
def test_an_episode_that_never_works_stops_the_stage_with_its_reason(tmp_path):
    with pytest.raises(RolloutError, match=r"failed 2 times.*nobody answers"):
        play_some(some(3), FailsAlways(), Units(tmp_path))
