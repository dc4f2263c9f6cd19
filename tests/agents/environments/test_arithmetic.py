import json
import random

import pytest

from agents.environments.arithmetic import (
    AnswerGrader,
    Problem,
    is_correct_call,
    problems,
    split_of,
    stated_answer,
)
from contracts.conversation import FunctionCall, Message, ToolCall


def call(expression: object) -> str:
    return json.dumps({"expression": expression})


def test_train_and_validation_share_no_sum():
    train = {frozenset((p.a, p.b)) for p in problems("train", 12_000, random.randrange(1 << 30))}
    held_out = {frozenset((p.a, p.b)) for p in problems("validation", 1_500, random.randrange(99))}
    assert not train & held_out
    assert len(train) + len(held_out) == 5_050  # every unordered pair falls on one side
    assert 0.08 < len(held_out) / 5_050 < 0.12


def test_split_ignores_the_order_of_the_operands():
    for a, b in [(random.randrange(100), random.randrange(100)) for _ in range(500)]:
        assert split_of(a, b) == split_of(b, a)


def test_the_split_is_pinned():
    # Known answer: moving a sum across the split would leak validation into trained models.
    held_out = sorted({tuple(sorted((p.a, p.b))) for p in problems("validation", 983, 0)})
    assert len(held_out) == 496
    assert held_out[:3] == [(0, 6), (0, 13), (0, 27)]


def test_problems_are_pure_and_prefixes_agree():
    seed = random.randrange(1 << 40)
    assert problems("train", 300, seed)[:40] == problems("train", 40, seed)
    assert problems("train", 40, seed) != problems("train", 40, seed + 1)


def test_no_sum_comes_twice_before_all_came_once():
    asked = problems("validation", 400, 3)
    assert len({(p.a, p.b) for p in asked}) == 400


def test_questions_hold_their_operands_and_both_sizes_occur():
    asked = problems("train", 2_000, 5)
    for problem in asked:
        assert str(problem.a) in problem.question
        assert str(problem.b) in problem.question
        assert problem.answer == problem.a + problem.b
    assert any(p.a < 10 and p.b < 10 for p in asked)
    assert len({p.question.replace(str(p.a), "").replace(str(p.b), "") for p in asked}) >= 5


def test_wrong_asks_are_refused():
    with pytest.raises(ValueError, match="tset"):
        problems("tset", 3, 0)
    with pytest.raises(ValueError, match="-1"):
        problems("train", -1, 0)


SUM = Problem("37+5/0", 37, 5, "What is 37 + 5?", 42)


@pytest.mark.parametrize("expression", ["37 + 5", "5+37", " (37) + (5) ", "(37 + 5)"])
def test_correct_calls(expression):
    assert is_correct_call(SUM, "calculator", call(expression))


@pytest.mark.parametrize(
    "arguments",
    [
        call("42"),
        call("37 - 5"),
        call("37 + 5 + 0"),
        call("37 + 6"),
        call("37 + 5.0"),
        call("37 +"),
        call("037 + 5"),
        call(42),
        call("(" * 5_000),
        call("37 + \0 5"),
        '{"expression": "37 + 5", "more": 1}',
        '["37 + 5"]',
        "37 + 5",
        "",
        "[" * 100_000,
    ],
)
def test_other_calls_are_not_correct(arguments):
    assert not is_correct_call(SUM, "calculator", arguments)


def test_the_tool_must_be_the_calculator():
    assert not is_correct_call(SUM, "search", call("37 + 5"))


def test_true_is_not_one():
    assert not is_correct_call(Problem("1+5/0", 1, 5, "", 6), "calculator", call("True + 5"))


@pytest.mark.parametrize(
    ("text", "number"),
    [("42", 42), ("37 + 5 = 42.", 42), ("The answer is 42.", 42), ("none", None), ("", None)],
)
def test_stated_answer(text, number):
    assert stated_answer(text) == number


def test_stated_answer_survives_endless_digits():
    assert stated_answer("9" * 100_000) is None


def test_grader_wants_a_final_answer():
    grade = AnswerGrader(SUM)
    asked = Message(role="user", content=SUM.question)
    calls = [ToolCall(id="c", function=FunctionCall(name="calculator", arguments=call("37 + 5")))]
    assert grade([asked, Message(role="assistant", content="It is 42.")]) == 1.0
    assert grade([asked, Message(role="assistant", content="It is 43.")]) == 0.0
    assert grade([asked, Message(role="assistant", content="42", tool_calls=calls)]) == 0.0
    assert grade([asked, Message(role="tool", content="42")]) == 0.0
    assert grade([]) == 0.0
