"""Keeps benchmark results as JSON, and turns them into docs/benchmarks.md.

python -m benchmarks.report
"""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made from `benchmarks/results/*.json` by `python -m benchmarks.report`; goals that are not met
stand here too. `make bench-ROOM` runs a room's scripts again.

| what | ours | peer | theirs | ratio | goal | met | machine | commit | date |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def keep(name: str, **fields: Any) -> None:
    """Write ``results/NAME.json`` with where and when it was measured, and print it.

    ``fields``: what, ours, unit, peer, theirs, ratio, goal, met, and anything worth keeping.
    """
    result = {
        "name": name,
        **fields,
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    text = json.dumps(result, indent=2) + "\n"
    (RESULTS / f"{name}.json").write_text(text)
    print(text, end="")


def compare(
    name: str,
    *,
    what: str,
    ours: float,
    unit: str,
    peer: str,
    theirs: float,
    least: float | None = None,
    most: float | None = None,
    digits: int = 1,
    **extra: Any,
) -> None:
    """``keep`` ours beside a peer's; the goal is a ratio of ``least`` or more, or ``most`` or less.

    Without either it is kept for comparison only. ``digits`` are those of both numbers; the ratio
    has one more.
    """
    ratio = ours / theirs
    goal, met = "for comparison", True
    if least is not None:
        goal, met = f">= {least}", ratio >= least
    elif most is not None:
        goal, met = f"<= {most}", ratio <= most
    keep(
        name,
        what=what,
        ours=round(ours, digits),
        unit=unit,
        peer=peer,
        theirs=round(theirs, digits),
        ratio=round(ratio, digits + 1),
        goal=goal,
        met=met,
        **extra,
    )


def page() -> str:
    """All results as one Markdown page."""
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    return HEAD + "".join(_row(result) for result in results)


def _row(result: dict[str, Any]) -> str:
    unit = result["unit"]
    cells = [
        result["what"],
        f"{result['ours']} {unit}",
        result["peer"] or "",
        "" if result["theirs"] is None else f"{result['theirs']} {unit}",
        "" if result["ratio"] is None else result["ratio"],
        result["goal"],
        "yes" if result["met"] else "**no**",
        result["machine"],
        result["commit"],
        result["date"],
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def _commit() -> str:
    """The commit that ran; empty where there is no git, as on a machine lent for its GPU."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, cwd=RESULTS, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
