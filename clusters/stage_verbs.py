"""Verbs that run the stages of one kind in a recipe, e.g. ``inkstone corpus build RECIPE``."""

import typer

from clusters.cli import (
    DASHBOARD,
    AddressOption,
    DryRunOption,
    JsonOption,
    OnOption,
    RecipeArgument,
    SetOption,
)
from clusters.config import ConfigError


def add_stage_verb(app: typer.Typer, verb: str, stage: str, help: str) -> None:
    """Add ``VERB RECIPE``: run the recipe's stages of kind ``stage`` and what they need."""

    @app.command(verb, help=f"{help} Runs the {stage} stages of a recipe and what they need.")
    def command(
        recipe: RecipeArgument,
        on: OnOption = "local",
        overrides: SetOption = None,
        dry_run: DryRunOption = False,
        address: AddressOption = DASHBOARD,
        json: JsonOption = False,
    ) -> None:
        from clusters.launch.local import launch
        from clusters.recipe import load_plan

        plan = load_plan(recipe, overrides or [])
        only = [planned.name for planned in plan.stages if planned.stage.name == stage]
        if not only:
            raise ConfigError(f"{recipe}: has no stage of kind {stage!r}")
        launch(recipe, only, on, overrides or [], dry_run, address, json)
