"""The verb ``inkstone train plan``."""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from clusters.config import ConfigError


def add_plan(app: typer.Typer) -> None:
    """Give ``app`` the verb ``plan``."""
    app.command("plan")(plan_command)


def plan_command(
    model: Annotated[
        str, typer.Option(help="Preset (7b, internlm2-20b, llama3-8b, ...) or a config.json.")
    ] = "7b",
    hardware: Annotated[
        str, typer.Option(help="Cluster preset, e.g. a100-80g, h100, or a YAML file of your own.")
    ] = "a100-80g",
    gpus: Annotated[str, typer.Option(help="GPU counts: N,N,...")] = "8,64,512,1024",
    global_batch: Annotated[
        int | None, typer.Option(min=1, help="Sequences per step; else 16,384 tokens per GPU.")
    ] = None,
    sequence_length: Annotated[int, typer.Option(min=1, help="Tokens per sequence.")] = 4096,
    node_gbit_s: Annotated[
        float | None, typer.Option(help="Network of a node, Gbit/s, all its ports.")
    ] = None,
    gpus_per_node: Annotated[int | None, typer.Option(help="GPUs of a node.")] = None,
    efficiency: Annotated[
        float | None,
        typer.Option(help="Share of the peak that kernels reach alone, measured on one GPU."),
    ] = None,
    validate: Annotated[
        Path | None, typer.Option(help="CSV of published throughputs to predict instead.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the plan to this .svg or .png.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Plan a training run: layout, memory per GPU, time, and scaling. Exits 1 if nothing fits."""
    if validate is not None:
        _validate(validate, json)
        return
    from trainer.plan.hardware import find_cluster, resized
    from trainer.plan.hardware_file import read_cluster
    from trainer.plan.model import find_shape
    from trainer.plan.search import Question, Refusal, plan

    if efficiency is not None and not 0 < efficiency <= 1:
        raise ConfigError(f"--efficiency {efficiency}: a share above 0 and up to 1")
    own = Path(hardware).suffix in (".yaml", ".yml")
    cluster = read_cluster(Path(hardware)) if own else find_cluster(hardware)
    cluster = resized(cluster, node_gbit_s, gpus_per_node)
    question = Question(find_shape(model), cluster, sequence_length, global_batch, efficiency)
    answers = [plan(question, count) for count in _counts(gpus)]
    _print_plan(question, answers, json)
    choices = [answer for answer in answers if not isinstance(answer, Refusal)]
    if plot is not None and choices:
        from trainer.plan.plot import draw

        draw(choices, plot)
    if len(choices) < len(answers):
        raise typer.Exit(1)


def _counts(text: str) -> list[int]:
    counts = []
    for part in text.split(","):
        if not part.strip().isdigit() or int(part) == 0:
            raise ConfigError(f"--gpus {text!r}: expected whole numbers above 0 with commas")
        counts.append(int(part))
    return sorted(set(counts))


def _print_plan(question: Any, answers: list[Any], json: bool) -> None:
    from trainer.plan import render

    if json:
        typer.echo(json_module.dumps(render.as_json(question, answers), indent=2))
    else:
        render.print_plan(question, answers)


def _validate(path: Path, json: bool) -> None:
    from trainer.plan import render
    from trainer.plan.validate import validate

    report = validate(path)
    if json:
        typer.echo(json_module.dumps(report, indent=2))
    else:
        render.print_validation(report)
