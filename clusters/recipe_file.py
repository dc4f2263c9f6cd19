"""Reads a recipe's YAML, remembers the line of every key, and applies ``--set``."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from clusters.config import ConfigError, nearest

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The file's contents with ``${NAME}`` filled in, and the line of every full key.

    Raises:
        ConfigError: missing, unreadable, not YAML, no mapping, a key that stands twice, or a
            variable that is not set.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = nearest(path.name, sorted(p.name for p in path.parent.glob("*.yaml")))
        raise ConfigError(f"{path}: no such recipe{near}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_twins(path, node)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a recipe is a mapping with 'name' and 'stages'")
    lines = _key_lines(node)
    missing: list[str] = []
    filled = fill_variables(raw, missing)
    if missing:
        raise ConfigError(located(path, lines, "\n".join(missing)))
    return filled, lines


def fill_variables(value: Any, missing: list[str], key: str = "") -> Any:
    """``value`` with every ``${NAME}`` in its strings replaced from the environment.

    ``missing`` takes a line per variable that is not set.
    """
    if isinstance(value, dict):
        return {k: fill_variables(v, missing, _joined(key, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [fill_variables(v, missing, _joined(key, i)) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    unset = sorted(name for name in set(_VARIABLE.findall(value)) if name not in os.environ)
    missing += [f"{key}: the environment variable {name} is not set" for name in unset]
    return _VARIABLE.sub(lambda match: os.environ.get(match[1], ""), value)


def _joined(prefix: str, key: object) -> str:
    return f"{prefix}.{key}" if prefix else str(key)


def _refuse_twins(path: Path, node: Any) -> None:
    """YAML would let the second of two equal keys win in silence."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twins(path, item)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise ConfigError(
                    f"{path}:{line}: {key.value!r} stands twice, first in line {seen[key.value]}"
                )
            seen[key.value] = line
            _refuse_twins(path, value)


def _key_lines(node: Any, prefix: str = "") -> dict[str, int]:
    """Full key -> line number."""
    lines: dict[str, int] = {}
    if isinstance(node, yaml.MappingNode):
        pairs = [(key.value, key.start_mark.line, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(str(i), item.start_mark.line, item) for i, item in enumerate(node.value)]
    else:
        return lines
    for key, line, value in pairs:
        full = _joined(prefix, key)
        lines[full] = line + 1
        lines.update(_key_lines(value, full))
    return lines


def located(path: Path, lines: dict[str, int], problems: str) -> str:
    """Put ``FILE:LINE:`` before each problem line, which starts with a full key."""
    located = []
    for problem in problems.split("\n"):
        key = problem.split(":")[0]
        while key and key not in lines:
            key = key.rpartition(".")[0]
        located.append(f"{path}:{lines[key]}: {problem}" if key else f"{path}: {problem}")
    return os.linesep.join(located)


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Apply ``KEY=VALUE``: ``STAGE.KEY`` is a stage's config, else a key of the recipe."""
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {override!r}: write KEY=VALUE, e.g. --set pretrain.steps=100")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not YAML: {error}") from error
    stages = raw.get("stages")
    if isinstance(stages, dict) and parts[0] in stages:
        parts = ["stages", parts[0], "config", *parts[1:]]
        if len(parts) == 3:
            raise ConfigError(f"--set {override!r}: name a key of the stage, e.g. {key}.KEY=VALUE")
    target: Any = raw
    for part in parts[:-1]:
        if isinstance(target, list) and part.isdigit() and int(part) < len(target):
            target = target[int(part)]
            continue
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override!r}: {part!r} is below something that has no keys")
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
    if isinstance(target, list) and parts[-1].isdigit() and int(parts[-1]) < len(target):
        target[int(parts[-1])] = value
    elif isinstance(target, dict):
        target[parts[-1]] = value
    else:
        raise ConfigError(f"--set {override!r}: there is no such key")
