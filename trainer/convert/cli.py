"""The verbs ``inkstone train convert`` and ``inkstone train export``."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer


def add_convert(app: typer.Typer) -> None:
    """Give ``app`` the verbs ``convert`` and ``export``."""
    app.command("convert")(convert_command)
    app.command("export")(export_command)


def convert_command(
    source: Annotated[Path, typer.Argument(help="A checkpoint in Hugging Face's layout.")],
    target: Annotated[Path, typer.Argument(help="A new folder.")],
    to: Annotated[str, typer.Option(help="llama or internlm2.")] = "llama",
    shard_gb: Annotated[float, typer.Option(min=0.001, help="Largest file, GB.")] = 5.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Convert a checkpoint between InternLM2's and Llama's layout, bit for bit."""
    from trainer.convert.layouts import convert

    made = convert(source, target, to, round(shard_gb * 1e9))
    if json:
        typer.echo(json_module.dumps({"folder": str(target), **made}))
        return
    typer.echo(
        f"{target}: {made['parameters']:,} parameters in {made['tensors']} tensors, "
        f"{made['bytes'] / 1e9:.2f} GB, in the layout of {to}"
    )


def export_command(
    run: Annotated[
        Path, typer.Argument(help="runs/NAME, runs/NAME/STAGE or an artifact, finished or not.")
    ],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    step: Annotated[
        int | None, typer.Option(min=1, help="Of a checkpoint that is kept; else the newest.")
    ] = None,
    shard_gb: Annotated[float, typer.Option(min=0.001, help="Largest file, GB.")] = 5.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a run's model in Hugging Face's layout, also while it trains."""
    from trainer.convert.export import export

    made = export(run, out, step, round(shard_gb * 1e9))
    if json:
        typer.echo(json_module.dumps({"folder": str(out), **made}))
        return
    typer.echo(f"{out}: step {made['step']}, {made['samples']:,} samples, of {made['artifact']}")
