"""Verbs about corpora; the front door offers them as ``inkstone corpus VERB``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Raw text to documents and tokens.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def stats(
    path: Annotated[Path, typer.Argument(help="runs/NAME/STAGE or an artifact directory.")],
    json: JsonOption = False,
) -> None:
    """Show a corpus' funnel and what was kept, or the tokens per domain of token stores."""
    from corpus.show import print_stats

    print_stats(path, json)


@app.command()
def why(
    key: Annotated[str, typer.Argument(metavar="UID", help="Uid or id of a document.")],
    path: Annotated[Path, typer.Argument(help="runs/NAME/STAGE or a corpus artifact.")],
    json: JsonOption = False,
) -> None:
    """Say why a document was kept or rejected: scores and cluster, or step and reason."""
    from corpus.show import print_fates

    print_fates(key, path, json)
