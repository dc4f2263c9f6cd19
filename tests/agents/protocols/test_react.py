import itertools
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from agents.environments.arithmetic import AnswerGrader, problems
from agents.policy import PolicyRefused, Reply
from agents.protocols.react import react, seed_of_turn
from agents.protocols.step import Status
from agents.tools.registry import TOOLS
from contracts.conversation import FunctionCall, Message, ToolCall
from contracts.tool import tool

QUESTION = Message(role="user", content="What is 37 + 5?")


def says(content: str, reason: str = "stop") -> Reply:
    return Reply(Message(role="assistant", content=content), reason)


def calls(*asked: tuple[str, str], content: str | None = None, reason: str = "tool_calls") -> Reply:
    listed = [
        ToolCall(id=f"r{random.random()}", function=FunctionCall(name=name, arguments=arguments))
        for name, arguments in asked
    ]
    return Reply(Message(role="assistant", content=content, tool_calls=listed), reason)


def adds(expression: str) -> tuple[str, str]:
    return ("calculator", json.dumps({"expression": expression}))


class Script:
    """A policy that says what it was told to, and remembers what it saw."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self.replies = list(replies)
        self.seen: list[tuple[Sequence[Message], Sequence[dict[str, Any]], int]] = []

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], seed: int
    ) -> Reply:
        self.seen.append((messages, tools, seed))
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def test_call_observation_answer():
    policy = Script(calls(adds("37 + 5"), content="I should add."), says("42"))
    first, second = react([QUESTION], policy, TOOLS)
    assert (first.status, second.status) == (Status.TOOL_CALL, Status.FINAL)
    assert first.observation.text == "42"
    assert [m.role for m in second.after] == ["user", "assistant", "tool", "assistant"]
    assert second.seen[1].content == "I should add."
    assert second.seen[2].tool_call_id == second.seen[1].tool_calls[0].id
    assert policy.seen[0][1] == [TOOLS["calculator"].openai_schema()]
    assert tuple(policy.seen[1][0]) == second.seen


def test_random_problems_end_with_the_reward_they_earn():
    rng = random.Random()
    for problem in problems("train", 60, rng.randrange(1 << 30)):
        wrong = rng.random() < 0.5
        answer = problem.answer + (rng.choice([-1, 1, 10]) if wrong else 0)
        policy = Script(calls(adds(f"{problem.a} + {problem.b}")), says(f"It is {answer}."))
        steps = list(react([Message(role="user", content=problem.question)], policy, TOOLS))
        assert steps[0].observation.text == str(problem.answer)
        assert AnswerGrader(problem)(list(steps[-1].after)) == float(not wrong)


def test_tool_errors_are_observations_and_the_episode_goes_on():
    policy = Script(
        calls(adds("37 / 0")), calls(("search", "{}")), calls(("calculator", "{oops")), says("42")
    )
    steps = list(react([QUESTION], policy, TOOLS))
    assert [s.status for s in steps] == [Status.TOOL_ERROR] * 3 + [Status.FINAL]
    errors = [m.content for m in steps[-1].seen if m.role == "tool"]
    assert all(error.startswith("error: ") for error in errors)
    assert "zero" in errors[0]
    assert "search" in errors[1]
    assert "JSON" in errors[2]


def test_several_calls_in_one_reply_are_a_step_each():
    policy = Script(calls(adds("1 + 1"), adds("1 / 0"), adds("2 + 2")), says("done"))
    steps = list(react([QUESTION], policy, TOOLS))
    assert [s.index for s in steps] == [0, 1, 2, 3]
    assert [s.status for s in steps[:3]] == [
        Status.TOOL_CALL,
        Status.TOOL_ERROR,
        Status.TOOL_CALL,
    ]
    assert [s.reply is None for s in steps] == [False, True, True, False]
    assert [m.content for m in steps[-1].seen if m.role == "tool"][::2] == ["2", "4"]
    for before, after in itertools.pairwise(steps):
        assert before.after == after.seen


def test_call_ids_are_numbered_so_that_reruns_agree():
    def play() -> tuple[Message, ...]:
        policy = Script(calls(adds("1 + 1"), adds("2 + 2")), calls(adds("3 + 3")), says("6"))
        return list(react([QUESTION], policy, TOOLS))[-1].after

    assert play() == play()
    ids = [call.id for message in play() for call in message.tool_calls or []]
    assert len(set(ids)) == 3


def test_the_last_turn_runs_no_tool():
    ran = []

    @tool()
    def note(text: str) -> str:
        """Remember that it ran."""
        ran.append(text)
        return "noted"

    policy = Script(*[calls(("note", json.dumps({"text": str(i)}))) for i in range(3)])
    steps = list(react([QUESTION], policy, {"note": note}, max_turns=3))
    assert ran == ["0", "1"]
    assert [s.status for s in steps] == [Status.TOOL_CALL, Status.TOOL_CALL, Status.TRUNCATED]
    assert steps[-1].call.arguments == '{"text": "2"}'
    assert steps[-1].observation is None


def test_an_answer_cut_short_is_truncated():
    (step,) = react([QUESTION], Script(says("The answer is", "length")), TOOLS)
    assert step.status is Status.TRUNCATED


def test_an_unreadable_call_is_told_and_may_be_mended():
    policy = Script(says('<tool_call>{"name": calc'), calls(adds("37 + 5")), says("42"))
    steps = list(react([QUESTION], policy, TOOLS))
    assert [s.status for s in steps] == [Status.TOOL_ERROR, Status.TOOL_CALL, Status.FINAL]
    assert "could not be read" in steps[1].seen[-1].content
    (only,) = react([QUESTION], Script(says("<tool_call>x")), TOOLS, max_turns=1)
    assert only.status is Status.TRUNCATED


def test_an_empty_answer_is_final_and_wrong():
    (step,) = react([QUESTION], Script(Reply(Message(role="assistant"))), TOOLS)
    assert step.status is Status.FINAL
    assert AnswerGrader(problems("train", 1, 0)[0])(list(step.after)) == 0.0


def test_a_refusal_ends_the_episode_and_any_other_failure_is_raised():
    policy = Script(calls(adds("1 + 1")), PolicyRefused("prompt of 900 tokens, context 512"))
    steps = list(react([QUESTION], policy, TOOLS))
    assert steps[-1].status is Status.ERROR
    assert steps[-1].error == "prompt of 900 tokens, context 512"
    assert steps[-1].seen == steps[-1].after == steps[0].after
    with pytest.raises(ConnectionError):
        list(react([QUESTION], Script(ConnectionError("gone")), TOOLS))


def test_each_turn_has_its_own_seed_and_each_episode_too():
    seeds = {seed_of_turn(seed, turn) for seed in range(50) for turn in range(10)}
    assert len(seeds) == 500
    assert all(0 <= seed < 1 << 31 for seed in seeds)
    policy = Script(calls(adds("1 + 1")), says("2"))
    list(react([QUESTION], policy, TOOLS, seed=9))
    assert [seed for _, _, seed in policy.seen] == [seed_of_turn(9, 0), seed_of_turn(9, 1)]
