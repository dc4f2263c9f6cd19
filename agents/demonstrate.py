"""Stage ``agents.demonstrate``: expert episodes to learn tool use from.

The expert is a scripted policy played through the same loop and the same tool that a
trained policy meets later, so what is learnt is what is asked for.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from agents.environments.arithmetic import AnswerGrader, Problem, problems
from agents.policy import Reply
from agents.protocols.react import react
from agents.tools.registry import TOOLS
from clusters.config import StageConfig
from clusters.stage import StageContext
from contracts.conversation import Conversation, FunctionCall, Message, ToolCall
from contracts.documents import TRAIN


class DemonstrateConfig(StageConfig):
    """How many demonstrations to write."""

    count: int = Field(5000, ge=1, le=1_000_000)
    """Episodes; there are about 9,000 training sums, after which they come again."""


@dataclass(frozen=True)
class Expert:
    """A ``Policy`` that solves one problem: it asks the calculator, then repeats it."""

    problem: Problem

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], seed: int
    ) -> Reply:
        """The call first, and once its result is there, the answer."""
        last = messages[-1]
        if last.role == "tool":
            return Reply(Message(role="assistant", content=f"The answer is {last.content}."))
        text = json.dumps({"expression": f"{self.problem.a} + {self.problem.b}"})
        call = ToolCall(id="call", function=FunctionCall(name="calculator", arguments=text))
        return Reply(Message(role="assistant", tool_calls=[call]), "tool_calls")


def demonstration(problem: Problem, index: int) -> Conversation:
    """One expert episode as a conversation.

    Raises:
        ValueError: the episode does not end with the right answer (the tool is broken).
    """
    question = Message(role="user", content=problem.question)
    steps = list(react([question], Expert(problem), TOOLS))
    messages = list(steps[-1].after)
    if AnswerGrader(problem)(messages) != 1.0:
        raise ValueError(f"problem {problem.id}: the expert's episode ends wrong: {messages[-1]}")
    return Conversation(
        id=f"arithmetic/{index:06d}/{problem.id}",
        messages=messages,
        tools=[tool.openai_schema() for tool in TOOLS.values()],
        source="arithmetic",
    )


def demonstrate(context: StageContext) -> dict[str, Any]:
    """Write ``conversations.jsonl`` from training problems only."""
    config: DemonstrateConfig = context.config
    chosen = problems(TRAIN, config.count, context.seed)
    path = context.out.path("conversations.jsonl")
    with (
        open(path, "w", encoding="utf-8") as file,
        context.progress.task("demonstrations", len(chosen), "episodes") as task,
    ):
        for index, problem in enumerate(chosen):
            file.write(demonstration(problem, index).to_json() + "\n")
            task.advance()
    sums = {(problem.a, problem.b) for problem in chosen}
    return {"in": {"sums": len(sums)}, "out": {"conversations": len(chosen)}}
