"""Finds the answer in what a model wrote."""

from contracts.conversation import FunctionCall
from serving.tokenizer import ChatTokenizer


def first_call(tokenizer: ChatTokenizer, output: str) -> FunctionCall | None:
    """The first well-formed tool call of an answer, or None where there is none."""
    calls = tokenizer.parse(output).tool_calls
    return calls[0].function if calls else None
