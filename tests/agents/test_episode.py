import json

from agents.episode import EpisodeKey, turns
from agents.policy import Reply
from agents.protocols.react import react
from agents.tools.registry import TOOLS
from contracts.conversation import FunctionCall, Message, ToolCall
from contracts.trajectory import TRAJECTORY, to_table

QUESTION = Message(role="user", content="What is 37 + 5? 加")


def policy(messages, tools, seed):
    ids = list(range(len(messages)))
    if messages[-1].role == "tool":
        return Reply(Message(role="assistant", content="42"), "stop", ids, [7, 8], [-0.5, -0.25])
    call = FunctionCall(name="calculator", arguments='{"expression": "37 + 5"}')
    message = Message(role="assistant", tool_calls=[ToolCall(id="any", function=call)])
    return Reply(message, "tool_calls", ids, [5], [-1.5])


def rows(key):
    return turns(key, list(react([QUESTION], policy, TOOLS, seed=key.seed)), reward=1.0)


def test_rows_say_what_happened():
    key = EpisodeKey("run", "37+5/0")
    first, second = rows(key)
    assert json.loads(first.messages) == [QUESTION.to_openai()]
    assert (first.tool_name, first.args_json) == ("calculator", '{"expression": "37 + 5"}')
    assert json.loads(first.result_json) == "42"
    assert json.loads(second.reply) == {"role": "assistant", "content": "42"}
    assert (second.output_ids, second.logprobs) == ([7, 8], [-0.5, -0.25])
    assert second.loss_mask == [True, True]
    assert (first.reward, second.reward) == (None, 1.0)
    assert (first.status, second.status) == ("tool_call", "final")
    assert first.tool_ms is None
    assert {first.episode_id, second.episode_id} == {key.episode_id}


def test_rows_fit_the_table():
    table = to_table(rows(EpisodeKey("run", "37+5/0")))
    assert table.schema == TRAJECTORY
    assert table.column("messages")[0].as_py().count("加") == 1


def test_two_tries_with_the_same_outcome_are_one_attempt():
    key = EpisodeKey("run", "37+5/0")
    assert rows(key) == rows(key)
    worse = turns(key, list(react([QUESTION], policy, TOOLS, seed=key.seed)), reward=0.0)
    assert worse[0].attempt != rows(key)[0].attempt


def test_ids_follow_from_what_was_asked():
    key = EpisodeKey("run", "37+5/0", sample=1)
    others = [
        EpisodeKey("other", "37+5/0", 1),
        EpisodeKey("run", "37+6/0", 1),
        EpisodeKey("run", "37+5/0", 2),
        EpisodeKey("run", "37+5/0", 1, policy_version=1),
    ]
    assert key.episode_id == EpisodeKey("run", "37+5/0", 1).episode_id
    assert len({key.episode_id, *(other.episode_id for other in others)}) == 5
    assert others[2].group_id == key.group_id
    assert others[3].group_id != key.group_id
