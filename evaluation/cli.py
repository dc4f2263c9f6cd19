"""Verbs about scores; the front door offers them as ``inkstone eval VERB``."""

from pathlib import Path
from typing import Annotated

import typer

from clusters.stage_verbs import add_stage_verb

app = typer.Typer(no_args_is_help=True, help="Engines to scores and reports.")
add_stage_verb(app, "run", "evaluation.run", "Score models.")

DEFAULT_DATABASE = "sqlite:///store/scores.db"

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def report(
    db: Annotated[
        str, typer.Option(help="SQLAlchemy URL of the score database.")
    ] = DEFAULT_DATABASE,
    run: Annotated[str | None, typer.Option(help="Only runs of this name.")] = None,
    json: JsonOption = False,
) -> None:
    """Show every model's figures on every benchmark, newest run first."""
    from evaluation.show import print_figures

    print_figures(db, run, json)


@app.command()
def score(
    path: Annotated[Path, typer.Argument(help="runs/NAME/STAGE or a scores artifact.")],
    json: JsonOption = False,
) -> None:
    """Extract and grade saved outputs again, without inference, and show what changed."""
    from evaluation.show import print_rescored

    print_rescored(path, json)


@app.command()
def index(
    path: Annotated[Path, typer.Argument(help="runs/NAME/STAGE or a scores artifact.")],
    db: Annotated[
        str, typer.Option(help="SQLAlchemy URL of the score database.")
    ] = DEFAULT_DATABASE,
    run: Annotated[
        str | None, typer.Option(help="Name of the run; by default that of runs/NAME/STAGE.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Put a scores artifact's rows into the database; what is there already stays."""
    from evaluation.show import print_indexed

    print_indexed(path, db, run, json)
