"""A chain of two small stages, run by the real runner: `python toy_chain.py FOLDER [N]`."""

import sys
from pathlib import Path
from typing import Any

from clusters.config import StageConfig, execution
from clusters.failpoints import failpoint
from clusters.recipe import Plan, PlannedStage, Recipe, StageEntry
from clusters.runner import run
from clusters.stage import Input, Requirements, Stage, StageContext


class NumbersConfig(StageConfig):
    """Config of the first toy stage."""

    count: int = 5
    """Numbers to write."""
    workers: int = execution(1)
    """How many at a time; changes nothing in the result."""
    gigabytes: float = execution(0.0)
    """Memory to ask for."""


class SumConfig(StageConfig):
    """Config of the second toy stage."""


def write_numbers(context: StageContext) -> dict[str, Any]:
    names = [f"number/{i}" for i in range(context.config.count)]
    with context.progress.task("numbers", len(names)) as task:
        for name in context.out.units.pending(names):
            with context.out.units.start(name) as unit:
                value = int(name.split("/")[1]) + context.seed
                unit.path(f"numbers/{name.split('/')[1]}.txt").write_text(str(value))
                unit.scratch("note.txt").write_text("only for this stage")
                unit.stats["value"] = value
            task.advance()
    values = [record.stats["value"] for record in context.out.units.records("number")]
    return {"in": {"asked": len(names)}, "out": {"numbers": len(values)}}


def add_up(context: StageContext) -> dict[str, Any]:
    total = sum(int(p.read_text()) for p in context.input("numbers").files("numbers/"))
    context.out.path("total.txt").write_text(str(total))
    failpoint("toy.sum")
    return {"in": {}, "out": {"total": total}}


NUMBERS = Stage(
    "corpus.numbers",
    NumbersConfig,
    "numbers",
    write_numbers,
    needs_ray=False,
    requires=lambda config: Requirements(memory_bytes=int(config.gigabytes * 2**30)),
)
SUM = Stage(
    "corpus.sum",
    SumConfig,
    "total",
    add_up,
    inputs={"numbers": Input(("numbers",))},
    needs_ray=False,
)


def toy_plan(folder: Path, *, seed: int = 1, **config: Any) -> Plan:
    entries = {
        "numbers": StageEntry(stage="corpus.numbers"),
        "total": StageEntry(stage="corpus.sum"),
    }
    store, runs = folder / "store", folder / "runs"
    recipe = Recipe(name="toy", seed=seed, store=store, runs=runs, stages=entries)
    stages = [
        PlannedStage("numbers", NUMBERS, NumbersConfig(**config), {}),
        PlannedStage("total", SUM, SumConfig(), {"numbers": ["numbers"]}),
    ]
    return Plan(Path("toy.yaml"), recipe, stages)


if __name__ == "__main__":
    run(toy_plan(Path(sys.argv[1])), "embedded")
