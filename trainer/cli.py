"""Verbs about training; the front door offers them as ``inkstone train VERB``."""

from pathlib import Path
from typing import Annotated

import typer

from clusters.stage_verbs import add_stage_verb
from trainer.convert.cli import add_convert
from trainer.observe.cli import add_show
from trainer.plan.cli import add_plan
from trainer.trace_cli import add_trace

app = typer.Typer(no_args_is_help=True, help="Token store and conversations to checkpoints.")
add_stage_verb(app, "pretrain", "trainer.pretrain", "Train a model from a token store.")
add_stage_verb(app, "sft", "trainer.sft", "Tune a model on conversations.")
add_plan(app)
add_show(app)
add_trace(app)
add_convert(app)


@app.callback()
def room() -> None:
    """Token store and conversations to checkpoints."""


@app.command()
def render(
    path: Annotated[
        Path, typer.Argument(help="A tuned checkpoint (runs/NAME/STAGE), or a conversations.jsonl.")
    ],
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder or artifact with the tokenizer, for a conversations.jsonl."),
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Conversations to show.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a model is trained on: the text after the template, loss tokens coloured."""
    from trainer.show import print_rendered

    print_rendered(path, tokenizer, count, json)
