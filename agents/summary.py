"""What a set of episodes came to, as it is."""

from collections.abc import Sequence
from typing import Any

from agents.environments.arithmetic import Problem, is_correct_call
from agents.protocols.step import Status
from contracts.statistics import wilson
from contracts.trajectory import Turn

DIGITS = 6


def proportion(successes: int, trials: int) -> dict[str, float | int]:
    """Count, rate and interval of a proportion, as JSON values."""
    low, high = wilson(successes, trials)
    rate = successes / trials if trials else 0.0
    return {
        "count": successes,
        "of": trials,
        "rate": round(rate, DIGITS),
        "low": round(low, DIGITS),
        "high": round(high, DIGITS),
    }


def summarise(episodes: Sequence[tuple[Problem, Sequence[Turn]]]) -> dict[str, Any]:
    """Figures over finished episodes; every episode counts, broken ones too."""
    rows = [row for _, turns in episodes for row in turns]
    ends = [turns[-1] for _, turns in episodes]
    called = [any(_is_correct(problem, row) for row in turns) for problem, turns in episodes]
    return {
        "episodes": len(episodes),
        "success": proportion(sum(end.reward == 1.0 for end in ends), len(episodes)),
        "correct_call": proportion(sum(called), len(episodes)),
        "ends": {
            status.value: sum(end.status == status for end in ends)
            for status in Status
            if status.ends
        },
        "steps": len(rows),
        "steps_per_episode": round(len(rows) / len(episodes), DIGITS) if episodes else 0.0,
        "tool_calls": sum(row.tool_name is not None for row in rows),
        "tool_errors": sum(row.status == Status.TOOL_ERROR for row in rows),
        "output_tokens": sum(len(row.output_ids) for row in rows),
    }


def _is_correct(problem: Problem, row: Turn) -> bool:
    if row.tool_name is None or row.args_json is None:
        return False
    return is_correct_call(problem, row.tool_name, row.args_json)
