"""JSON Schema of recipes and stage configs, for editors and scripts."""

from typing import Any

from clusters.recipe import Recipe
from clusters.registry import ROOMS, resolve, room_stages
from clusters.stage import Stage


def stage_schema(name: str) -> dict[str, Any]:
    """Schema of one stage's config.

    Raises:
        ConfigError: no stage of that name.
    """
    return resolve(name).config.model_json_schema()


def recipe_schema() -> dict[str, Any]:
    """Schema of a recipe; each stage's config is checked by its ``stage`` key."""
    schema = Recipe.model_json_schema()
    stages = [stage for room in ROOMS for stage in room_stages(room).values()]
    for stage in stages:
        schema["$defs"][stage.name] = _entry(stage, schema["$defs"])
    schema["properties"]["stages"] = {
        "type": "object",
        "additionalProperties": {"oneOf": [{"$ref": f"#/$defs/{s.name}"} for s in stages]},
    }
    schema["$defs"].pop("StageEntry", None)
    return schema


def _entry(stage: Stage, definitions: dict[str, Any]) -> dict[str, Any]:
    config = stage.config.model_json_schema()
    definitions.update(config.pop("$defs", {}))
    names = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["stage"],
        "properties": {
            "stage": {"const": stage.name},
            "config": config,
            "inputs": {
                "type": "object",
                "additionalProperties": False,
                "properties": {role: names for role in stage.inputs},
                "required": [r for r, wanted in stage.inputs.items() if not wanted.optional],
            },
        },
    }
