"""The conversation: OpenAI messages are the one inner shape.

Every other dataset shape is converted to it at the edge. Messages are rendered by a
Jinja chat template (``contracts/templates``) that travels with the tokenizer.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.jsonl import read_rows

Role = Literal["system", "user", "assistant", "tool"]
_TEMPLATES = Path(__file__).parent / "templates"


class FunctionCall(BaseModel):
    """Name and JSON-encoded arguments of a call, as OpenAI spells it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    arguments: str
    """A JSON object as text. A model may write text that is no JSON: it is kept as is."""


class ToolCall(BaseModel):
    """One call of a tool, asked for by the assistant."""

    model_config = ConfigDict(extra="forbid")

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None

    def to_openai(self) -> dict[str, Any]:
        """The message as a plain dict, absent fields left out."""
        return self.model_dump(exclude_none=True)


class Conversation(BaseModel):
    """A row of ``conversations.jsonl``: what a tuning stage trains on."""

    model_config = ConfigDict(extra="forbid")

    id: str
    messages: list[Message] = Field(min_length=1)
    tools: list[dict[str, Any]] = Field(default_factory=list)
    """OpenAI tool schemas offered to the assistant."""
    source: str = ""
    uid: int | None = None
    """Uid of the document it was made from: its lineage."""

    def to_json(self) -> str:
        """One JSON line, absent fields left out."""
        return json.dumps(self.model_dump(exclude_none=True), ensure_ascii=False, sort_keys=True)


def read_conversations(path: Path) -> list[Conversation]:
    """Read ``conversations.jsonl``.

    Raises:
        ValueError: a line is not a conversation; names the file, line and reason.
    """
    return read_rows(path, Conversation)


def chat_template(name: str) -> str:
    """Jinja source of a template that ships with Inkstone, e.g. ``chatml``.

    Raises:
        ValueError: there is none of that name; names those there are.
    """
    path = _TEMPLATES / f"{name}.jinja"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in _TEMPLATES.glob("*.jinja")))
        raise ValueError(f"no chat template named {name!r}; there are: {known}")
    return path.read_text(encoding="utf-8")
