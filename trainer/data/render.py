"""A conversation as the model sees it: token ids, and which of them it is trained on."""

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
        UnusableConversation: the template refuses it, or there is nothing to train on.
    """
    messages = [message.to_openai() for message in conversation.messages]
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
