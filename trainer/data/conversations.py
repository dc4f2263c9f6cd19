"""Reads ``conversations.jsonl`` files: renders what is usable, sets aside what is not."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from contracts.conversation import Conversation
from trainer.data.render import Rendered, UnusableConversation, render


@dataclass
class ConversationSet:
    """Usable conversations, rendered, and those that were not usable."""

    rendered: list[Rendered] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    """``{"file", "line", "id", "reason"}`` per record that is left out."""

    @property
    def total(self) -> int:
        """Records read."""
        return len(self.rendered) + len(self.rejected)


def load_conversations(
    files: Sequence[tuple[str, Path]], tokenizer: Any, max_tokens: int
) -> ConversationSet:
    """Read and render files; bad records are set aside with file, line and reason.

    Args:
        files: (name to report, path); their order decides the order of training.
        tokenizer: has the chat template.
        max_tokens: longest conversation that fits a row.
    """
    found = ConversationSet()
    for name, path in files:
        for line, text in _lines(path):
            identity = ""
            try:
                conversation = Conversation.model_validate_json(text)
                identity = conversation.id
                rendered = render(conversation, tokenizer)
                _check_length(rendered, max_tokens)
                found.rendered.append(rendered)
            except (ValidationError, UnusableConversation) as error:
                found.rejected.append(
                    {"file": name, "line": line, "id": identity, "reason": _reason(error)}
                )
    return found


def save_rendered(path: Path, rendered: Sequence[Rendered]) -> None:
    """Write rendered conversations to one ``.npz`` file."""
    names = json.dumps([[item.id, item.source] for item in rendered])
    with open(path, "wb") as file:
        np.savez(
            file,
            ids=np.concatenate([item.ids for item in rendered]),
            trained=np.concatenate([item.trained for item in rendered]),
            lengths=np.array([len(item.ids) for item in rendered], np.int64),
            names=np.frombuffer(names.encode(), np.uint8),
        )


def load_rendered(path: Path) -> list[Rendered]:
    """Read back what ``save_rendered`` wrote."""
    with np.load(path) as file:
        ids, trained, lengths = file["ids"], file["trained"], file["lengths"]
        names = json.loads(file["names"].tobytes())
    cuts = np.cumsum(lengths)[:-1]
    parts = zip(names, np.split(ids, cuts), np.split(trained, cuts), strict=True)
    return [Rendered(name, source, i, t) for (name, source), i, t in parts]


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with open(path, "rb") as file:
        for number, text in enumerate(file, 1):
            if text.strip():
                yield number, text


def _check_length(rendered: Rendered, max_tokens: int) -> None:
    if len(rendered.ids) > max_tokens:
        raise UnusableConversation(f"{len(rendered.ids)} tokens, row_length is {max_tokens}")


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "line"
        return f"{where}: {first['msg']}"
    return str(error)
