"""Step ``index``: the n-grams of the evaluation sets, and what was found of them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from clusters.units import Unit
from corpus.decontaminate.index import Coverage, build_index
from corpus.decontaminate.index_file import save_index
from corpus.decontaminate.report import BenchmarkReport, Contamination
from corpus.steps.shell import Shell

_INDEX_NAME = "evaluation_sets.idx"


def index_of(shell: Shell) -> Path | None:
    """The index of all evaluation sets, made once; None where the config names none.

    Raises:
        CorpusError: a set cannot be read whole.
    """
    config = shell.config.decontaminate
    if not config.benchmarks:
        return None

    def make(unit: Unit) -> None:
        index = build_index(config)
        save_index(index, unit.scratch(_INDEX_NAME))
        unit.stats["coverage"] = {name: asdict(one) for name, one in index.coverage.items()}

    shell.once("index", make)
    return shell.work.file("index/all", _INDEX_NAME)


def report(shell: Shell, stats: list[dict[str, Any]]) -> list[BenchmarkReport]:
    """What the units of reading found, per evaluation set."""
    if not shell.config.decontaminate.benchmarks:
        return []
    found = Contamination()
    for unit in stats:
        found.merge(unit["contamination"])
    coverage = shell.units.published("index/all").stats["coverage"]
    return found.report({name: Coverage(**one) for name, one in coverage.items()})
