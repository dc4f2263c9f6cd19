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
    if isinstance(value, set | frozenset):
        return sorted(dumped, key=repr)
    if isinstance(value, dict):
        return {k: _identity_of(v, dumped[str(k)]) for k, v in value.items()}
    return dumped


def nearest(word: str, known: list[str]) -> str:
    """``" (did you mean 'x'?)"``, or nothing where no known word is near."""
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""


def explain_json(error: ValidationError, model: type[BaseModel]) -> str:
    """One line on a JSON file that is no ``model``: the first problem, by its key."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":  # its input is the whole file
        return str(first["msg"])
    return explain(error, model, "").splitlines()[0]


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
        elif problem["type"] == "value_error" and isinstance(problem["input"], dict):
            lines.append(f"{key}: {problem['ctx']['error']}")  # of fields that do not fit together
        else:
            lines.append(f"{key}: {problem['msg']}, got {problem['input']!r}")
    return "\n".join(lines)


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """Field names of the (possibly nested) model that a location points into.

    A location inside a tagged union holds the tag of the member that was meant.
    """
    current: list[type[BaseModel]] = [model]
    for part in location:
        nested = [m.model_fields[part].annotation for m in current if part in m.model_fields]
        if nested:
            current = [found for annotation in nested for found in _models_in(annotation)]
        else:
            current = [m for m in current if _has_tag(m, part)] or current
    return sorted({name for found in current for name in found.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in _models_in(inner)]


def _has_tag(model: type[BaseModel], tag: str) -> bool:
    fields = model.model_fields.values()
    return any(tag in getattr(field.annotation, "__args__", ()) for field in fields)
