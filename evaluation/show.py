"""What the terminal shows of scores."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from clusters.artifact import Artifact
from evaluation.database import Figure, figures, open_database
from evaluation.indexing import index_scores
from evaluation.rescore import Rescored, rescore
from evaluation.summary import Result


def print_figures(url: str, run: str | None, as_json: bool) -> None:
    """Print the figures of a score database, newest run first.

    Raises:
        ConfigError: there is no such database.
    """
    with open_database(url, create=False) as engine:
        found = [figure for figure in figures(engine) if run in (None, figure.run)]
    if as_json:
        rows = [{**asdict(f), "result": f.result.model_dump()} for f in found]
        print(json.dumps(rows, ensure_ascii=False))
        return
    console = Console()
    if not found:
        console.print("no scores there yet")
    for artifact in dict.fromkeys(figure.artifact for figure in found):
        console.print(_figures([figure for figure in found if figure.artifact == artifact]))


def print_rescored(path: Path, as_json: bool) -> None:
    """Print saved and new figures of a scores artifact.

    Raises:
        ArtifactError: no scores artifact there, or its model is gone.
    """
    found = list(rescore(Artifact.open(path, "scores")))
    if as_json:
        print(json.dumps([_flat(one) for one in found], ensure_ascii=False))
        return
    table = Table("model", "benchmark", "metric", title="graded again")
    for heading in ("saved", "now", "rows changed", "rows"):
        table.add_column(heading, justify="right")
    for one in found:
        table.add_row(
            one.before.label,
            one.before.benchmark,
            one.before.metric,
            f"{one.before.mean:.4f}",
            f"{one.after.mean:.4f}",
            str(one.changed),
            str(one.rows),
        )
    Console().print(table)


def print_indexed(path: Path, url: str, run: str | None, as_json: bool) -> None:
    """Index a scores artifact and print what came of it.

    Raises:
        ArtifactError: no scores artifact there.
        ConfigError: the database cannot be opened.
    """
    done = index_scores(path, url, run)
    if as_json:
        print(json.dumps(asdict(done)))
    else:
        print(f"{done.run}/{done.stage}: {done.rows} rows, {done.added} of them new")


def _figures(found: list[Figure]) -> Table:
    first = found[0]
    table = Table("model", "benchmark", "metric", "of", title=f"{first.run}, {first.created}")
    for heading in ("mean", "95 %", "chance", "n", "errors", "cut", "no answer"):
        table.add_column(heading, justify="right")
    for figure in found:
        r = figure.result
        chance = "" if r.chance is None else f"{r.chance:.3f}"
        counts = (r.n, r.errors, r.truncated, r.failed_extractions)
        table.add_row(
            r.label, f"{r.benchmark} v{r.version}", r.metric, r.group,
            f"{r.mean:.4f}", _interval(r), chance, *map(str, counts),
        )  # fmt: skip
    return table


def _interval(result: Result) -> str:
    if result.low is None or result.high is None:
        return ""
    return f"{result.low:.3f}..{result.high:.3f}"


def _flat(one: Rescored) -> dict[str, object]:
    return {
        "before": one.before.model_dump(),
        "after": one.after.model_dump(),
        "changed": one.changed,
        "rows": one.rows,
    }
