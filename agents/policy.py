"""The policy: whatever answers a conversation. The protocols get it handed in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from contracts.conversation import Message


@dataclass(frozen=True)
class Reply:
    """One answer of a policy, with the tokens it is made of where they are known."""

    message: Message
    finish_reason: str = "stop"
    """``stop``, ``tool_calls`` or ``length``, as OpenAI spells it."""
    prompt_ids: list[int] = field(default_factory=list)
    output_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """Natural-log probability of each output token."""


class PolicyRefused(Exception):
    """The request can never be answered, e.g. the prompt is longer than the context.

    Its text repeats on a rerun: it holds no address, time or request id. A policy that
    is merely unreachable raises something else, and the episode is tried again.
    """


class Policy(Protocol):
    """Answers a conversation, offered some tools."""

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], seed: int
    ) -> Reply:
        """The next assistant message.

        Raises:
            PolicyRefused: the request can never be answered.
        """
        ...
