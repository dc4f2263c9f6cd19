"""The verb ``inkstone train trace``."""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer


def add_trace(app: typer.Typer) -> None:
    """Give ``app`` the verb ``trace``."""
    app.command("trace")(trace_command)


def trace_command(
    run: Annotated[Path, typer.Argument(help="A pretraining run: runs/NAME or runs/NAME/STAGE.")],
    step: Annotated[int, typer.Option(min=1, help="Optimisation step, from 1.")],
    count: Annotated[int, typer.Option("-n", min=1, help="Documents to show.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, all documents.")] = False,
) -> None:
    """Show the documents, URLs and scores behind a training step, e.g. a leap of the loss."""
    from trainer.trace import trace

    found = trace(run, step)
    if json:
        typer.echo(json_module.dumps(found.to_json(), indent=1, default=str))
    else:
        _print(found, count)


def _print(found: Any, count: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    proof = "the checksum of its rows agrees" if found.proved else "THE CHECKSUM DIFFERS"
    norm = "not finite" if found.grad_norm is None else f"{found.grad_norm:.3g}"
    console.print(
        f"step {found.step}: loss {found.loss:.4f}, gradient norm {norm}, samples "
        f"{found.samples[0]} to {found.samples[-1]}, {len(found.documents)} documents; {proof}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table()
    for name in ("tokens", "uid", "domain", "url or id", "scores"):
        table.add_column(name, justify="right" if name == "tokens" else "left")
    for document in found.documents[:count]:
        about = document.about or {}
        scores = {k: v for k, v in about.items() if isinstance(v, float)}
        table.add_row(
            f"{document.tokens:,}",
            str(document.uid),
            document.domain,
            str(about.get("url") or about.get("id") or "?"),
            ", ".join(f"{name} {value:.3g}" for name, value in scores.items()),
        )
    console.print(table)
    if found.corpus:
        console.print(f"kept by the rules of {found.corpus['stage']}: see --json, `corpus`")
