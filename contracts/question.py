"""The multiple-choice question: one row of ``questions.jsonl``."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


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
    rows = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                rows.append(Question.model_validate_json(line))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"]) or "line"
                raise ValueError(f"{path}:{number}: {where}: {first['msg']}") from error
    return rows
