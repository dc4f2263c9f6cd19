"""A tool: a typed Python function with a docstring, declared once.

From the declaration comes what each consumer needs; ``openai_schema`` here, further
forms where they are used.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model


class ToolStatus(StrEnum):
    """Whether a tool can be called now."""

    READY = "ready"
    NEEDS_MODEL = "needs model"
    NEEDS_KEY = "needs key"


class ToolError(Exception):
    """A call that failed for a reason the caller may read and act on."""


@dataclass(frozen=True)
class Tool:
    """A callable tool and its contract."""

    name: str
    description: str
    function: Callable[..., str]
    arguments: type[BaseModel]
    read_only: bool = False
    idempotent: bool = False
    status: ToolStatus = ToolStatus.READY

    def openai_schema(self) -> dict[str, Any]:
        """The tool in the shape of OpenAI's ``tools`` list."""
        schema = self.arguments.model_json_schema()
        parameters = {
            "type": "object",
            "properties": {
                key: {k: v for k, v in value.items() if k != "title"}
                for key, value in schema.get("properties", {}).items()
            },
            "required": schema.get("required", []),
        }
        if "$defs" in schema:
            parameters["$defs"] = schema["$defs"]
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": parameters,
            },
        }

    def call(self, arguments_json: str) -> str:
        """Run the tool on JSON arguments.

        Raises:
            ToolError: the arguments are no JSON object, do not fit, or the tool failed.
        """
        try:
            values = self.arguments.model_validate(json.loads(arguments_json))
        except (ValueError, RecursionError) as error:
            if isinstance(error, ValidationError):
                raise ToolError(f"{self.name}: {_first_problem(error)}") from error
            raise ToolError(f"{self.name}: arguments are not JSON: {error}") from error
        return self.function(**values.model_dump())


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "arguments"
    return f"{where}: {first['msg']}"


def tool(
    *, read_only: bool = False, idempotent: bool = False
) -> Callable[[Callable[..., str]], Tool]:
    """Declare a function as a tool: its name, docstring and annotations are the contract.

    Raises:
        TypeError: no docstring, or a parameter without an annotation.
    """

    def declare(function: Callable[..., str]) -> Tool:
        doc = inspect.getdoc(function)
        if not doc:
            raise TypeError(f"tool {function.__name__!r} has no docstring")
        hints = get_type_hints(function)
        fields: dict[str, Any] = {}
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(f"tool {function.__name__!r}: {name!r} takes any number of values")
            if name not in hints:
                raise TypeError(f"tool {function.__name__!r}: parameter {name!r} has no annotation")
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[name] = (hints[name], default)
        model = create_model(
            f"{function.__name__}_arguments", __config__=ConfigDict(extra="forbid"), **fields
        )
        return Tool(
            name=function.__name__,
            description=doc.split("\n\n")[0].replace("\n", " "),
            function=function,
            arguments=model,
            read_only=read_only,
            idempotent=idempotent,
        )

    return declare
