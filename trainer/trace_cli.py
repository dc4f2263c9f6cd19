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
    left_out: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of the batches left out as bad steps there, the one of this number."
        ),
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Documents to show.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, all documents.")] = False,
) -> None:
    """Show the documents, URLs and scores behind a training step, e.g. a leap of the loss."""
    from trainer.trace import trace

    found = trace(run, step, left_out)
    if json:
        typer.echo(json_module.dumps(found.to_json(), indent=1, default=str))
    else:
        _print(found, count)


def _print(found: Any, count: int) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    proof = "the checksum of its rows agrees" if found.proved else "THE CHECKSUM DIFFERS"
    loss = "not finite" if found.loss is None else f"{found.loss:.4f}"
    norm = "not finite" if found.grad_norm is None else f"{found.grad_norm:.3g}"
    update = f"gradient norm {norm}" if found.applied else "its update was not applied"
    console.print(
        f"step {found.step}: loss {loss}, {update}, samples {found.samples[0]} to "
        f"{found.samples[-1]}, {len(found.documents)} documents; {proof}"
    )
    if found.left_out and found.applied:
        console.print(
            f"{found.left_out} batches were left out at this step: --left-out 1 shows one"
        )
    for document in found.documents[:count]:
        about = document.about or {}
        name = about.get("url") or about.get("id") or "?"
        scores = (f"{key} {value:.3g}" for key, value in about.items() if isinstance(value, float))
        console.print(f"{document.tokens:>8,} tokens  {name}", markup=False)
        console.print(f"{'':>17}uid {document.uid}, {document.domain}")
        console.print(f"{'':>17}{', '.join(scores)}")
    if len(found.documents) > count:
        console.print(f"and {len(found.documents) - count} more: -n, --json")
    if found.corpus:
        console.print(f"kept by {found.corpus['stage']}, {_rules(found.corpus['config'])}")


def _rules(config: dict[str, Any]) -> str:
    """The rules that a corpus was made with, by name."""
    rules = config.get("rules") or {}
    named = [name for name, rule in rules.items() if isinstance(rule, dict) and rule.get("enabled")]
    return f"rules {', '.join(named) or 'none'}; what they ask for: --json, `corpus`"
