import random

import pytest

from agents.demonstrate import DemonstrateConfig, demonstration
from agents.environments.arithmetic import Problem, is_correct_call, split_of
from agents.stages import STAGES
from agents.tools.registry import TOOLS
from clusters.execute import run_stage
from contracts.conversation import read_conversations
from contracts.tool import Tool

DEMONSTRATE = next(stage for stage in STAGES if stage.name == "agents.demonstrate")


def test_every_demonstration_is_an_expert_episode_of_a_training_problem(tmp_path):
    config = DemonstrateConfig(count=250)
    made = run_stage(DEMONSTRATE, config, store=tmp_path, seed=random.randrange(1 << 30))
    conversations = read_conversations(made.path("conversations.jsonl"))
    assert len(conversations) == made.manifest.stats["out"]["conversations"] == 250
    assert len({c.id for c in conversations}) == 250
    for conversation in conversations:
        sum_, phrasing = conversation.id.split("/")[-2:]
        a, b = map(int, sum_.split("+"))
        assert split_of(a, b) == "train"
        user, asks, result, answer = conversation.messages
        assert [m.role for m in conversation.messages] == ["user", "assistant", "tool", "assistant"]
        (call,) = asks.tool_calls
        problem = Problem(f"{sum_}/{phrasing}", a, b, user.content, a + b)
        assert is_correct_call(problem, call.function.name, call.function.arguments)
        assert call.function.arguments == f'{{"expression": "{a} + {b}"}}'
        assert result.content == str(a + b)
        assert result.tool_call_id == call.id
        assert answer.content == f"The answer is {a + b}."
        assert conversation.tools == [TOOLS["calculator"].openai_schema()]


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    def digest(store: str, seed: int) -> str:
        config = DemonstrateConfig(count=50)
        return run_stage(DEMONSTRATE, config, store=tmp_path / store, seed=seed).manifest.digest

    assert digest("a", 1) == digest("b", 1)
    assert digest("a", 1) != digest("a", 2)


def test_a_wrong_tool_is_noticed(monkeypatch):
    real = TOOLS["calculator"]
    lying = Tool(real.name, real.description, lambda expression: "41", real.arguments)
    monkeypatch.setattr("agents.demonstrate.TOOLS", {"calculator": lying})
    with pytest.raises(ValueError, match="37"):
        demonstration(Problem("37+5/0", 37, 5, "What is 37 + 5?", 42), 0)


def test_count_must_be_positive():
    with pytest.raises(ValueError, match="count"):
        DemonstrateConfig(count=0)
