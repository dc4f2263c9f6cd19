"""Verbs about runs and artifacts; the front door offers them as ``inkstone VERB``."""

from pathlib import Path
from typing import Annotated

import typer

from clusters import show as showing

app = typer.Typer(no_args_is_help=True, help="Runs, artifacts and this machine.")

RecipeArgument = Annotated[Path, typer.Argument(help="Recipe file, e.g. recipes/demo.yaml.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override: KEY=VALUE, or STAGE.KEY=VALUE. May be repeated."),
]
OnOption = Annotated[
    str,
    typer.Option("--on", help="Where: local (this machine), job (Ray Jobs), remote (a cluster)."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AddressOption = Annotated[
    str, typer.Option(help="Dashboard of the cluster to submit to, for --on job.")
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of the run records.")]
DASHBOARD = "http://127.0.0.1:8265"


@app.command()
def run(
    recipe: RecipeArgument,
    only: Annotated[
        str | None, typer.Option(help="STAGE,...: these, and what they still need.")
    ] = None,
    on: OnOption = "local",
    overrides: SetOption = None,
    dry_run: DryRunOption = False,
    address: AddressOption = DASHBOARD,
    json: JsonOption = False,
) -> None:
    """Run a recipe. What is there already is kept; a killed run goes on where it was."""
    from clusters.launch.local import launch

    names = [name.strip() for name in only.split(",")] if only else None
    launch(recipe, names, on, overrides or [], dry_run, address, json)


@app.command()
def runs(root: RunsOption = Path("runs"), json: JsonOption = False) -> None:
    """List the runs, newest first."""
    showing.print_runs(root, json)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="Run, e.g. demo.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    root: RunsOption = Path("runs"),
) -> None:
    """Print the driver's log of a run's latest invocation."""
    showing.print_log(root / name, follow)


@app.command()
def stop(
    name: Annotated[str, typer.Argument(help="Run, e.g. demo.")],
    root: RunsOption = Path("runs"),
    address: AddressOption = DASHBOARD,
) -> None:
    """End a running run in order; the same `inkstone run` goes on later."""
    from clusters.stop import stop as stop_run

    typer.echo(stop_run(root / name, address))


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="runs/NAME, runs/NAME/STAGE or an artifact.")],
    json: JsonOption = False,
) -> None:
    """Show a run's stages, or an artifact's lineage and stats."""
    showing.show(path, json)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="runs/NAME, runs/NAME/STAGE or an artifact.")],
    json: JsonOption = False,
) -> None:
    """Recompute every checksum. Exits 1 where one is wrong."""
    problems = showing.verify(path)
    if json:
        typer.echo(showing.to_json({"path": str(path), "problems": problems}))
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)
    if not json:
        typer.echo(f"{path}: every file is as its manifest says")


@app.command()
def gc(
    store: Annotated[Path, typer.Option(help="Folder of the artifacts.")] = Path("store"),
    root: RunsOption = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    json: JsonOption = False,
) -> None:
    """Free what no run points to. Shows it and asks first."""
    from clusters.gc import collect, garbage

    found = garbage(store, root)
    showing.print_garbage(found, json)
    if found and (yes or (not json and typer.confirm("Delete these?"))):
        collect(found)


@app.command()
def schema(
    stage: Annotated[str | None, typer.Argument(help="One stage's config, ROOM.VERB.")] = None,
) -> None:
    """Print the JSON Schema of recipes, for editors."""
    from clusters.schema import recipe_schema, stage_schema

    typer.echo(showing.to_json(stage_schema(stage) if stage else recipe_schema()))


@app.command()
def doctor(json: JsonOption = False) -> None:
    """Check this machine and environment. Exits 1 where something is wrong."""
    from clusters.doctor import diagnose

    findings = diagnose()
    showing.print_findings(findings, json)
    if any(finding.status == "error" for finding in findings):
        raise typer.Exit(1)
