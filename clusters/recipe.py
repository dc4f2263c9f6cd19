"""Recipes: a YAML file that says what to run, read into typed config.

Every problem is reported before anything starts, with file, line, key and remedy.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator

from clusters import runs
from clusters.config import ConfigError, StageConfig, execution, explain, nearest
from clusters.connect import ClusterConfig
from clusters.registry import resolve
from clusters.stage import Input, Stage
from contracts.manifest import ExternalInput

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class StageEntry(StageConfig):
    """One stage of a recipe."""

    stage: str
    """Which stage: ``ROOM.VERB``, e.g. ``corpus.build``."""
    inputs: dict[str, str | list[str]] = Field(default_factory=dict)
    """Role -> the name of a stage of this recipe (or several) whose result it reads."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The stage's own config; ``inkstone schema`` lists every key."""


class Recipe(StageConfig):
    """A recipe file."""

    name: str
    """Name of the run; its record lies in ``runs/NAME``."""
    seed: int = 0
    """Seed of everything random in the run."""
    store: Path = execution(Path("store"))
    """Folder of the artifacts. Every node must see it."""
    runs: Path = execution(Path("runs"))
    """Folder of the run records and logs."""
    database: str | None = execution(None)
    """SQLAlchemy URL of the score database; by default SQLite in the store."""
    cluster: ClusterConfig = execution(ClusterConfig())
    """How much of this machine to take, or which cluster to join."""
    stages: dict[str, StageEntry]
    """What to run, by the names you give. Order does not matter; inputs decide."""

    @field_validator("name")
    @classmethod
    def _one_word(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("must be letters, digits, '-' and '_': it names a folder")
        return name

    @field_validator("store")
    @classmethod
    def _absolute(cls, store: Path) -> Path:
        return store.absolute()  # workers run in other folders

    @property
    def scores_url(self) -> str:
        """The score database's URL, the default filled in."""
        return self.database or f"sqlite:///{self.store / 'scores.db'}"


RESERVED = frozenset(Recipe.model_fields) | {"logs", runs.RUN_NAME}


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a recipe, resolved and validated."""

    name: str
    stage: Stage
    config: StageConfig
    inputs: dict[str, list[str]]
    """Role -> names of the planned stages it reads."""

    @property
    def parents(self) -> list[str]:
        """Names of all stages it reads."""
        return [name for names in self.inputs.values() for name in names]

    @cached_property
    def external(self) -> list[ExternalInput]:
        """What it reads from outside, hashed once per plan.

        Raises:
            ConfigError: something is missing or unreadable.
        """
        try:
            return self.stage.external(self.config)
        except ConfigError as error:
            raise ConfigError(f"stages.{self.name}.config: {error}") from error


@dataclass(frozen=True)
class Plan:
    """A whole recipe, resolved, in an order in which it can run."""

    path: Path
    recipe: Recipe
    stages: list[PlannedStage]

    def needed_for(self, wanted: Iterable[str]) -> set[str]:
        """``wanted`` and everything they read, directly or not.

        Raises:
            ConfigError: a name that is no stage of the recipe.
        """
        by_name = {planned.name: planned for planned in self.stages}
        needed: set[str] = set()
        queue = list(wanted)
        while queue:
            name = queue.pop()
            if name not in by_name:
                raise ConfigError(
                    f"{self.path}: no stage {name!r}{nearest(name, list(by_name))}; "
                    f"it has: {', '.join(by_name)}"
                )
            if name not in needed:
                needed.add(name)
                queue.extend(by_name[name].parents)
        return needed


def load_plan(path: Path | str, overrides: Iterable[str] = ()) -> Plan:
    """Read a recipe, apply ``--set`` overrides, resolve and validate every stage.

    Raises:
        ConfigError: anything wrong, all problems of a kind at once.
    """
    path = Path(path)
    raw, lines = _read_yaml(path)
    for override in overrides:
        _apply(raw, override)
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(_located(path, lines, explain(error, Recipe, ""))) from error
    planned, problems = [], []
    for name, entry in recipe.stages.items():
        try:
            planned.append(_plan_stage(name, entry, recipe))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError(_located(path, lines, "\n".join(problems)))
    _check_kinds(path, lines, planned)
    return Plan(path, recipe, _ordered(path, planned))


def _plan_stage(name: str, entry: StageEntry, recipe: Recipe) -> PlannedStage:
    key = f"stages.{name}"
    if name in RESERVED or not NAME.fullmatch(name):
        raise ConfigError(
            f"{key}: not a name for a stage; use letters, digits, '-' and '_', "
            f"and none of {', '.join(sorted(RESERVED))}"
        )
    try:
        stage = resolve(entry.stage)
    except ConfigError as error:
        raise ConfigError(f"{key}.stage: {error}") from error
    try:
        config = stage.config.model_validate(entry.config)
    except ValidationError as error:
        raise ConfigError(explain(error, stage.config, f"{key}.config")) from error
    inputs = {
        role: [names] if isinstance(names, str) else names for role, names in entry.inputs.items()
    }
    for role, names in inputs.items():
        if role not in stage.inputs:
            known = ", ".join(stage.inputs) or "none"
            hint = nearest(role, list(stage.inputs))
            raise ConfigError(
                f"{key}.inputs.{role}: unknown role{hint}; {stage.name} reads {known}"
            )
        if len(names) != 1 and not stage.inputs[role].many:
            raise ConfigError(f"{key}.inputs.{role}: takes one stage, got {names}")
        for parent in names:
            if parent not in recipe.stages:
                hint = nearest(parent, list(recipe.stages))
                raise ConfigError(f"{key}.inputs.{role}: no stage {parent!r} here{hint}")
    for role, wanted in stage.inputs.items():
        if role not in inputs and not wanted.optional:
            raise ConfigError(
                f"{key}.inputs.{role}: missing; name the stage that makes "
                f"{' or '.join(map(repr, wanted.kinds))}"
            )
    return PlannedStage(name, stage, config, inputs)


def _check_kinds(path: Path, lines: dict[str, int], planned: list[PlannedStage]) -> None:
    outputs = {p.name: p.stage.output for p in planned}
    for child in planned:
        for role, names in child.inputs.items():
            wanted: Input = child.stage.inputs[role]
            for parent in names:
                if outputs[parent] not in wanted.kinds:
                    raise ConfigError(
                        _located(
                            path,
                            lines,
                            f"stages.{child.name}.inputs.{role}: {parent!r} makes "
                            f"{outputs[parent]!r}, needed: {' or '.join(map(repr, wanted.kinds))}",
                        )
                    )


def _ordered(path: Path, planned: list[PlannedStage]) -> list[PlannedStage]:
    """Parents before children, otherwise as written."""
    ordered: list[PlannedStage] = []
    waiting = list(planned)
    done: set[str] = set()
    while waiting:
        ready = next((p for p in waiting if done.issuperset(p.parents)), None)
        if ready is None:
            names = ", ".join(p.name for p in waiting)
            raise ConfigError(f"{path}: stages wait for each other in a circle: {names}")
        ordered.append(ready)
        done.add(ready.name)
        waiting.remove(ready)
    return ordered


def _read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
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
    return raw, _key_lines(node)


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
        full = f"{prefix}.{key}" if prefix else key
        lines[full] = line + 1
        lines.update(_key_lines(value, full))
    return lines


def _located(path: Path, lines: dict[str, int], problems: str) -> str:
    """Put ``FILE:LINE:`` before each problem line, which starts with a full key."""
    located = []
    for problem in problems.split("\n"):
        key = problem.split(":")[0]
        while key and key not in lines:
            key = key.rpartition(".")[0]
        located.append(f"{path}:{lines[key]}: {problem}" if key else f"{path}: {problem}")
    return os.linesep.join(located)


def _apply(raw: dict[str, Any], override: str) -> None:
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
