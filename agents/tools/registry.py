"""Which tools there are, and how a call of one becomes an observation."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from agents.tools.calculator import calculator
from contracts.tool import Tool, ToolError

TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in (calculator,)}
"""Every tool by name."""


@dataclass(frozen=True)
class Observation:
    """What a call gave back, as the policy reads it."""

    text: str
    ok: bool
    milliseconds: float
    """Wall time of the call; never part of a data file, since it never repeats."""

    @property
    def result_json(self) -> str:
        """The text as JSON, for a trajectory's ``result_json``."""
        return json.dumps(self.text, ensure_ascii=False)


def observe(tools: Mapping[str, Tool], name: str, arguments_json: str) -> Observation:
    """Call a tool; whatever goes wrong comes back as text the policy can act on."""
    started = time.perf_counter()
    ok = False
    if name not in tools:
        text = f"error: no tool named {name!r}; there are: {', '.join(sorted(tools))}"
    else:
        try:
            text, ok = tools[name].call(arguments_json), True
        except ToolError as error:
            text = f"error: {error}"
        except Exception as error:  # a tool is foreign code; an episode outlives its bugs
            text = f"error: {name} failed: {type(error).__name__}"
    return Observation(text, ok, 1000 * (time.perf_counter() - started))
