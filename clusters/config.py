"""Base of every config model, and the errors a wrong config gives."""

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class ConfigError(Exception):
    """A recipe or config is wrong; the message names the key, the value and the remedy."""


class StageConfig(BaseModel):
    """A stage's config: unknown keys are errors, field docstrings reach the schema."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def execution(default: Any = ..., **kwargs: Any) -> Any:
    """A field that says how a stage runs, not what it makes (workers, ports, paths).

    Execution fields do not enter the fingerprint.
    """
    return Field(default, json_schema_extra={"execution": True}, **kwargs)


def identity(config: BaseModel) -> dict[str, Any]:
    """The config as JSON values without its execution fields, at any depth."""
    dumped = config.model_dump(mode="json")
    return _without_execution(config, dumped)


def _without_execution(model: BaseModel, dumped: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for name, info in type(model).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("execution"):
            continue
        value = getattr(model, name)
        kept[name] = _identity_of(value, dumped[name])
    return kept


def _identity_of(value: Any, dumped: Any) -> Any:
    if isinstance(value, BaseModel):
        return _without_execution(value, dumped)
    if isinstance(value, list | tuple):
        return [_identity_of(v, d) for v, d in zip(value, dumped, strict=True)]
    if isinstance(value, dict):
        return {k: _identity_of(v, dumped[str(k)]) for k, v in value.items()}
    return dumped


def nearest(word: str, known: list[str]) -> str:
    """``" (did you mean 'x'?)"``, or nothing where no known word is near."""
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""


def explain(error: ValidationError, model: type[BaseModel], prefix: str) -> str:
    """One line per problem: full key, value, what is allowed, the nearest known key."""
    lines = []
    for problem in error.errors():
        location = [str(part) for part in problem["loc"]]
        key = ".".join([prefix, *location]) if prefix else ".".join(location)
        if problem["type"] == "extra_forbidden":
            known = _fields_at(model, location[:-1])
            hint = nearest(location[-1], known)
            lines.append(f"{key}: unknown key{hint}; known: {', '.join(sorted(known))}")
        elif problem["type"] == "missing":
            lines.append(f"{key}: missing, and it has no default")
        else:
            lines.append(f"{key}: {problem['msg']}, got {problem['input']!r}")
    return "\n".join(lines)


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """Field names of the (possibly nested) model that a location points into."""
    current: Any = model
    for part in location:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = _model_in(fields[part].annotation)
    return list(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
