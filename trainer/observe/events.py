"""The events of a run: ``timings.jsonl`` of every time that it was started."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIMINGS_NAME = "timings.jsonl"


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of one file; a line cut by a killed worker is left out."""
    if not path.is_file():
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "time" in event and "event" in event:
                yield event


def history(timings: Path, artifact: str) -> list[dict[str, Any]]:
    """All events so far of the artifact that ``timings`` is written for, in order of time.

    Each invocation of a run logs into a folder of its own, ``logs/ID/STAGE/timings.jsonl``.

    Args:
        artifact: as in the events ``started``; stretches of other artifacts are left out.
    """
    stage = timings.parent.name
    files = {*timings.parent.parent.parent.glob(f"*/{stage}/{TIMINGS_NAME}"), timings}
    found: list[dict[str, Any]] = []
    for path in files:
        wanted = False
        for event in read_events(path):
            if event["event"] == "started":
                wanted = event.get("artifact") == artifact
            if wanted:
                found.append(event)
    return sorted(found, key=lambda event: event["time"])
