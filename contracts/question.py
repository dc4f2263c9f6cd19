"""The multiple-choice question: one row of ``questions.jsonl``."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.jsonl import read_rows


class Question(BaseModel):
    """A question with one right choice."""

    model_config = ConfigDict(extra="forbid")

    id: str
    uid: int
    """Uid of the document it was made from: its lineage."""
    question: str
    choices: list[str] = Field(min_length=2)
    answer: int = Field(ge=0)
    """Index of the right choice."""

    @model_validator(mode="after")
    def _check_answer(self) -> "Question":
        if self.answer >= len(self.choices):
            raise ValueError(f"answer {self.answer} is none of {len(self.choices)} choices")
        if len(set(self.choices)) != len(self.choices):
            raise ValueError("two choices are the same")
        return self

    def to_json(self) -> str:
        """One JSON line."""
        return json.dumps(self.model_dump(), ensure_ascii=False, sort_keys=True)


def read_questions(path: Path) -> list[Question]:
    """Read ``questions.jsonl``.

    Raises:
        ValueError: a line is no question; names the file, line, field and reason.
    """
    return read_rows(path, Question)
