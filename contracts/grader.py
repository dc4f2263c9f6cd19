"""Graders: from an episode's messages to a reward."""

from typing import Protocol

from contracts.conversation import Message


class Grader(Protocol):
    """Judges how an episode ended."""

    def __call__(self, messages: list[Message]) -> float:
        """Reward of the finished episode, in [0, 1]."""
        ...
