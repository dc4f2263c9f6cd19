"""The ways in which a request may say what the text must be."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from contracts.engine import Guide, GuideKind


class StructuredOutputs(BaseModel):
    """What the text must be: exactly one of these."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    json_schema: dict[str, Any] | None = Field(None, alias="json")
    regex: str | None = None
    choice: list[str] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> "StructuredOutputs":
        if sum(x is not None for x in (self.json_schema, self.regex, self.choice)) != 1:
            raise PydanticCustomError("not_one", "give exactly one of json, regex and choice")
        return self

    def guide(self) -> Guide:
        """The same for the engine."""
        if self.json_schema is not None:
            return Guide(GuideKind.JSON_SCHEMA, json.dumps(self.json_schema))
        if self.regex is not None:
            return Guide(GuideKind.REGEX, self.regex)
        return Guide(GuideKind.CHOICE, json.dumps(self.choice))


class TextFormat(BaseModel):
    """Any text."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]

    def guide(self) -> None:
        """Nothing to hold the text to."""


class JsonFormat(BaseModel):
    """Any JSON object."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["json_object"]

    def guide(self) -> Guide:
        """The schema that any object meets."""
        return Guide(GuideKind.JSON_SCHEMA, '{"type": "object"}')


class NamedSchema(BaseModel):
    """OpenAI's wrapping of a schema. It is always held to, ``strict`` or not."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: str
    description: str | None = None
    body: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class SchemaFormat(BaseModel):
    """JSON of one schema."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["json_schema"]
    json_schema: NamedSchema

    def guide(self) -> Guide:
        """The schema."""
        return Guide(GuideKind.JSON_SCHEMA, json.dumps(self.json_schema.body))


ResponseFormat = Annotated[TextFormat | JsonFormat | SchemaFormat, Field(discriminator="type")]
