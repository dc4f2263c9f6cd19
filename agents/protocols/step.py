"""The typed record of one step of an episode."""

import json
from dataclasses import dataclass
from enum import StrEnum

from agents.policy import Reply
from agents.tools.registry import Observation
from contracts.conversation import FunctionCall, Message


class Status(StrEnum):
    """How a step went; the last step's status is the episode's."""

    TOOL_CALL = "tool_call"
    TOOL_ERROR = "tool_error"
    FINAL = "final"
    TRUNCATED = "truncated"
    ERROR = "error"

    @property
    def ends(self) -> bool:
        """Whether the episode is over after such a step."""
        return self in (Status.FINAL, Status.TRUNCATED, Status.ERROR)


@dataclass(frozen=True)
class Step:
    """What happened in one step: what was seen, answered, called and observed."""

    index: int
    seed: int
    status: Status
    seen: tuple[Message, ...]
    """The conversation before the step: what the policy saw."""
    after: tuple[Message, ...]
    """The conversation after it."""
    reply: Reply | None = None
    """None where the policy refused, and on the second and later calls of one reply."""
    call: FunctionCall | None = None
    observation: Observation | None = None
    """None where no tool was asked for, or no turn was left to read its result."""
    error: str | None = None


def messages_json(messages: tuple[Message, ...]) -> str:
    """Messages as the JSON list that trajectories keep."""
    return json.dumps([message.to_openai() for message in messages], ensure_ascii=False)
