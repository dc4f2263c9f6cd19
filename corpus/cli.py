"""Verbs about corpora; the front door offers them as ``inkstone corpus VERB``."""

from pathlib import Path
from typing import Annotated

import typer

from clusters.stage_verbs import add_stage_verb

app = typer.Typer(no_args_is_help=True, help="Raw text to documents and tokens.")
add_stage_verb(app, "build", "corpus.build", "Clean raw text to documents.")
add_stage_verb(app, "tokenizer", "corpus.tokenizer", "Train a tokenizer.")
add_stage_verb(app, "tokens", "corpus.tokens", "Turn documents into a token store.")

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
