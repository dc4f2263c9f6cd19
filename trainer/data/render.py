"""A conversation as the model sees it: token ids, and which of them it is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from contracts.conversation import Conversation


@dataclass(frozen=True)
class Rendered:
    """A conversation through the tokenizer's chat template."""

    id: str
    source: str
    ids: np.ndarray
    """(length,) int64 token ids."""
    trained: np.ndarray
    """(length,) bool: true for what the assistant writes, its end-of-turn included."""


class UnusableConversation(ValueError):
    """A conversation that cannot be trained on; the message says why."""


def render(conversation: Conversation, tokenizer: Any) -> Rendered:
    """Render by the template and keep its mask of assistant tokens.

    Raises:
        UnusableConversation: the template refuses it, a control token is spelled in it,
            or there is nothing to train on.
    """
    messages = [message.to_openai() for message in conversation.messages]
    _refuse_control_tokens([messages, conversation.tools], tokenizer)
    try:
        encoded = tokenizer.apply_chat_template(
            messages,
            tools=conversation.tools or None,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
    except Exception as error:  # a template may raise anything
        raise UnusableConversation(f"chat template: {error}") from error
    ids = np.asarray(encoded["input_ids"], np.int64)
    trained = np.asarray(encoded["assistant_masks"], bool)
    if not trained[1:].any():
        raise UnusableConversation("no assistant token to train on")
    return Rendered(conversation.id, conversation.source, ids, trained)


def _refuse_control_tokens(value: Any, tokenizer: Any) -> None:
    """Text that spells a control token would become one here; serving reads it as text."""
    control = [token.content for token in tokenizer.added_tokens_decoder.values()]
    for text in _strings(value):
        for token in control:
            if token in text:
                raise UnusableConversation(f"control token {token} stands in its text")


def _strings(value: Any) -> Iterator[str]:
    """Every string inside a JSON value, names of keys too: templates write both."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *_strings(item))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
