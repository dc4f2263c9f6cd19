import json
from fractions import Fraction

from agents.demonstrate import Expert
from agents.environments.arithmetic import AnswerGrader, problems
from agents.episode import EpisodeKey, turns
from agents.policy import PolicyRefused, Reply
from agents.protocols.react import react
from agents.summary import proportion, summarise
from agents.tools.registry import TOOLS
from contracts.conversation import Message


def test_proportion_is_json():
    shown = proportion(3, 48)
    assert json.loads(json.dumps(shown)) == shown
    assert shown["rate"] == float(Fraction(3, 48))
    assert shown["low"] < shown["rate"] < shown["high"]


def episode(problem, policy):
    steps = list(react([Message(role="user", content=problem.question)], policy, TOOLS))
    reward = AnswerGrader(problem)(list(steps[-1].after))
    return problem, turns(EpisodeKey("run", problem.id), steps, reward)


def test_every_episode_counts_also_the_broken_ones():
    def refuses(messages, tools, seed):
        raise PolicyRefused("no")

    def mumbles(messages, tools, seed):
        return Reply(Message(role="assistant", content="well"), "length", [1], [2, 3], [-1.0, -2.0])

    def guesses(messages, tools, seed):
        return Reply(Message(role="assistant", content="7"))

    asked = problems("validation", 20, 1)
    played = [episode(p, Expert(p)) for p in asked[:10]]
    played += [episode(p, refuses) for p in asked[10:13]]
    played += [episode(p, mumbles) for p in asked[13:18]]
    played += [episode(p, guesses) for p in asked[18:] if p.answer != 7]
    summary = summarise(played)
    assert summary["episodes"] == 20
    assert summary["success"]["count"] == summary["correct_call"]["count"] == 10
    assert summary["ends"] == {"final": 12, "truncated": 5, "error": 3}
    assert (summary["steps"], summary["tool_calls"], summary["tool_errors"]) == (30, 10, 0)
    assert summary["output_tokens"] == 10


def test_a_right_call_with_the_wrong_operands_is_no_correct_call():
    problem, other = problems("validation", 2, 1)
    summary = summarise([(problem, episode(other, Expert(other))[1])])
    assert summary["correct_call"]["count"] == 0
    assert summary["tool_calls"] == 1


def test_no_episodes_is_no_crash():
    assert summarise([])["success"]["rate"] == 0.0
