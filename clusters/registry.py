"""Finds a stage by the name a recipe gives it: ``ROOM.VERB`` -> ``ROOM/stages.py``.

The one place where a string names code; a test resolves every entry.
"""

import importlib

from clusters.config import ConfigError, nearest
from clusters.stage import Stage

ROOMS = ("corpus", "serving", "trainer", "agents", "evaluation")


def room_stages(room: str) -> dict[str, Stage]:
    """All stages of one room, by full name."""
    return {stage.name: stage for stage in importlib.import_module(f"{room}.stages").STAGES}


def resolve(name: str) -> Stage:
    """The stage of that name.

    Raises:
        ConfigError: there is none; names the nearest.
    """
    room = name.split(".")[0]
    if room not in ROOMS:
        raise ConfigError(
            f"stage {name!r}: no room {room!r}{nearest(room, list(ROOMS))}; "
            f"stages are named ROOM.VERB with ROOM one of {', '.join(ROOMS)}"
        )
    stages = room_stages(room)
    if name not in stages:
        hint = nearest(name, list(stages))
        raise ConfigError(f"stage {name!r}: unknown{hint}; {room} has: {', '.join(stages)}")
    return stages[name]
