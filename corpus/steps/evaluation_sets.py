"""Step ``index``: the n-grams of the evaluation sets, and what was found of them."""

from pathlib import Path
from typing import Any

from clusters.units import Unit
from corpus.decontaminate.index import build_index
from corpus.decontaminate.index_file import load_index, save_index
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
        save_index(build_index(config), unit.scratch(_INDEX_NAME))

    shell.once("index", make)
    return shell.work.file("index/all", _INDEX_NAME)


def report(shell: Shell, stats: list[dict[str, Any]]) -> list[BenchmarkReport]:
    """What the units of reading found, per evaluation set."""
    path = index_of(shell)
    if path is None:
        return []
    found = Contamination()
    for unit in stats:
        found.merge(unit["contamination"])
    return found.report(load_index(path).coverage)
