"""The verb ``inkstone train show``."""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer


def add_show(app: typer.Typer) -> None:
    """Give ``app`` the verb ``show``."""
    app.command("show")(show_command)


def show_command(
    run: Annotated[
        Path, typer.Argument(help="A training run: runs/NAME, runs/NAME/STAGE, or a timings.jsonl.")
    ],
    plot: Annotated[
        Path | None, typer.Option(help="Draw its curves to this .svg, .png or .html.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with every step.")] = False,
) -> None:
    """Show how a training goes or went: loss, speed, use of the hardware, time lost."""
    from trainer.observe.plot import draw
    from trainer.observe.report import read_run

    report = read_run(run)
    rows = table(report.summary())
    if plot is not None:
        draw(report, plot, rows)
    if json:
        typer.echo(json_module.dumps(report.to_json(), indent=1))
        return
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"{name:{width}}  {value}")


def table(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """A run's summary as lines for people: (what, value)."""
    rows = [
        ("run", f"{summary['name']} {summary['artifact'][:12]}, {summary['status']}"),
        ("steps", f"{summary['step']:,} of {summary['total_steps']:,}"),
    ]
    if summary["eta_seconds"] is not None:
        rows.append(("time left", _duration(summary["eta_seconds"])))
    if summary["loss"] is not None:
        rows.append(("training loss", f"{summary['loss']:.4f} nats per token"))
    for domain, last in summary["validation_last"].items():
        first = summary["validation_first"].get(domain)
        rows.append((f"validation, {domain}", f"{_number(first)} -> {_number(last)}"))
    return rows + _speed_rows(summary) + _time_rows(summary)


def _speed_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    if summary["step_seconds"] is None:
        return []
    rows = [
        ("step", f"{summary['step_seconds']:.3f} s in the median"),
        ("tokens/s", f"{summary['tokens_per_second']:,.0f} in the median"),
        ("data wait", f"{summary['data_wait']:.2%} of the steps' time"),
    ]
    if summary["mfu"] is None:
        return rows
    rate = f"{summary['tokens_per_second_per_device']:,.0f} measured"
    memory = f"{summary['memory_bytes'] / 2**20:,.0f} MiB measured"
    if "expected_memory_bytes" in summary:
        rate += f", {summary['expected_tokens_per_second_per_device']:,.0f} planned"
        memory += f", {summary['expected_memory_bytes'] / 2**20:,.0f} MiB planned"
    peak = f"{summary['peak_flops_per_device'] / 1e12:.3g} TFLOP/s a device"
    return [
        *rows,
        ("tokens/s and device", rate),
        ("MFU", f"{summary['mfu']:.1%} of {peak} ({summary['peak_source']})"),
        ("HFU", f"{summary['hfu']:.1%}"),
        ("peak memory", memory),
    ]


def _time_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    parts = sorted(summary["seconds_by_part"].items(), key=lambda item: -item[1])
    spent = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in parts if seconds >= 1)
    wall = _duration(summary["wall_seconds"])
    return [
        ("wall time", f"{wall}: {spent}" if spent else wall),
        (
            "goodput",
            f"{summary['goodput']:.1%}; {summary['restarts']} restarts cost "
            f"{_duration(summary['lost_seconds'])}, {summary['replayed_steps']} steps again",
        ),
    ]


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"
