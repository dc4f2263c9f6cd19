"""What ``inkstone run`` and the rooms' stage verbs do: plan, then run here or hand over."""

import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from clusters import runs
from clusters.config import ConfigError, nearest
from clusters.connect import Where
from clusters.launch import job as jobs
from clusters.recipe import Plan, load_plan
from clusters.runner import Forecast, forecast, run

PROFILES: dict[str, Where] = {"local": "embedded", "job": "job", "remote": "remote"}


def launch(
    recipe: Path,
    only: list[str] | None,
    on: str,
    overrides: list[str],
    dry_run: bool,
    address: str,
    json: bool,
) -> None:
    """Run a recipe on a cluster profile.

    Raises:
        ConfigError: the recipe, a name or the profile is wrong.
        SystemExit: 1, a submitted job did not succeed.
    """
    if on not in PROFILES:
        raise ConfigError(
            f"--on {on}: no such profile{nearest(on, list(PROFILES))}; one of {', '.join(PROFILES)}"
        )
    plan = load_plan(recipe, overrides)
    if dry_run:
        _print_forecast(forecast(plan, only), json)
        return
    if on == "job" and not jobs.inside_job():
        _submit(plan, only, overrides, address)
        return
    directory = run(plan, PROFILES[on], only, job=jobs.job_id())
    record = runs.load(directory)
    if json:
        print(runs.to_json(record.model_dump()))
    else:
        print_summary(directory, record)


def _submit(plan: Plan, only: list[str] | None, overrides: list[str], address: str) -> None:
    for override in overrides:
        if urlsplit(override.partition("=")[2]).password:
            raise ConfigError(
                f"--set {override.partition('=')[0]}: holds a password, and everyone on the "
                "cluster sees a job's command line; write it in the recipe file instead"
            )
    arguments = ["run", str(plan.path.absolute()), "--on", "job"]
    arguments += ["--only", ",".join(only)] if only else []
    arguments += [part for override in overrides for part in ("--set", override)]
    for key in ("store", "runs"):  # the driver may start in another folder
        arguments += ["--set", f"{key}={getattr(plan.recipe, key).absolute()}"]
    job = jobs.submit(address, arguments, name=plan.recipe.name)
    print(f"submitted as {job}; stop it with: inkstone stop {plan.recipe.name}", file=sys.stderr)
    if not jobs.follow(address, job):
        raise SystemExit(1)


def _print_forecast(rows: list[Forecast], json: bool) -> None:
    if json:
        fields = ("name", "stage", "action", "fingerprint")
        print(runs.to_json([{field: getattr(row, field) for field in fields} for row in rows]))
        return
    table = Table(title="What would run")
    for column in ("stage", "kind", "action", "fingerprint"):
        table.add_column(column)
    for row in rows:
        shown = row.fingerprint[:12] if row.fingerprint else "follows from its inputs"
        table.add_row(row.name, row.stage, row.action, shown)
    Console().print(table)


def print_summary(directory: Path, record: runs.RunRecord) -> None:
    """The table that ends a run, and where to go next."""
    console = Console()
    table = Table(
        title=f"run {record.name}: {runs.shown_status(directory, record)} in {record.seconds:.0f} s"
    )
    for column in ("stage", "status", "seconds", "in", "out"):
        table.add_column(column)
    for name, stage in record.stages.items():
        table.add_row(
            name,
            stage.status,
            "" if stage.seconds is None else f"{stage.seconds:.1f}",
            _counts(stage.inputs),
            _counts(stage.outputs),
        )
    console.print(table)
    report = directory / "report" / "report.html"
    if report.exists():
        console.print(f"report:  {report}")
    for name, stage in record.stages.items():
        if stage.kind == "quantized" and stage.path:
            console.print(f"serve:   {_command()} serve start {directory / name}")


def _command() -> str:
    """How to type this command again: by name where it is on the PATH."""
    path = Path(sys.argv[0])
    if path.name != "inkstone":
        return "python -m inkstone"
    return "inkstone" if shutil.which("inkstone") == str(path.absolute()) else str(path)


def _counts(counts: dict[str, int | float]) -> str:
    return ", ".join(f"{_number(value)} {key}" for key, value in counts.items())


def _number(value: int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
