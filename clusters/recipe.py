"""Recipes: a YAML file that says what to run, read into typed config.

Every problem is reported before anything starts, with file, line, key and remedy.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from clusters import runs
from clusters.config import ConfigError, StageConfig, execution, explain, nearest
from clusters.connect import ClusterConfig
from clusters.recipe_file import apply_override, located, read_yaml
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
    store: Path = execution(Path("store"), validate_default=True)
    """Folder of the artifacts. Every node must see it."""
    runs: Path = execution(Path("runs"))
    """Folder of the run records and logs."""
    database: str | None = execution(None)
    """SQLAlchemy URL of the score database; by default SQLite in the store."""
    cluster: ClusterConfig = execution(ClusterConfig())
    """How much of this machine to take, or which cluster to join."""
    stages: dict[str, StageEntry] = Field(min_length=1)
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
        """What it reads from outside, hashed once per plan."""
        return self.stage.external(self.config)


@dataclass(frozen=True)
class Plan:
    """A whole recipe, resolved, in an order in which it can run."""

    path: Path
    recipe: Recipe
    stages: list[PlannedStage]
    lines: dict[str, int] = field(default_factory=dict)
    """Full key -> line of the file."""

    def external(self, planned: PlannedStage) -> list[ExternalInput]:
        """What a stage reads from outside, hashed once per plan.

        Raises:
            ConfigError: something is missing or unreadable.
        """
        try:
            return planned.external
        except ConfigError as error:
            problem = f"stages.{planned.name}.config.{error}"
            raise ConfigError(located(self.path, self.lines, problem)) from error

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
    raw, lines = read_yaml(path)
    for override in overrides:
        apply_override(raw, override)
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(located(path, lines, explain(error, Recipe, ""))) from error
    planned, problems = [], []
    for name, entry in recipe.stages.items():
        try:
            planned.append(_plan_stage(name, entry, recipe))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError(located(path, lines, "\n".join(problems)))
    _check_kinds(path, lines, planned)
    return Plan(path, recipe, _ordered(path, planned), lines)


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
                        located(
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
