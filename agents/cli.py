"""Verbs about agents; the front door offers them as ``inkstone agent VERB``."""

from pathlib import Path
from typing import Annotated

import typer

from clusters.stage_verbs import add_stage_verb

app = typer.Typer(no_args_is_help=True, help="Endpoint and tools to trajectories.")
add_stage_verb(app, "rollout", "agents.rollout", "Let an agent act and keep what it did.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def tools(json: JsonOption = False) -> None:
    """List the tools and whether each can be called now."""
    from agents.show import print_tools

    print_tools(json)


@app.command()
def run(
    question: Annotated[str, typer.Argument(help='E.g. "What is 37 + 5?"')],
    endpoint: Annotated[str, typer.Option(help="Base URL, e.g. http://127.0.0.1:8000/v1.")],
    model: Annotated[str, typer.Option(help="Name of the model there.")],
    api_key: Annotated[
        str, typer.Option(envvar="INKSTONE_API_KEY", help="Key of the endpoint.")
    ] = "",
    max_turns: Annotated[int, typer.Option(min=1, help="Replies of the model.")] = 4,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one reply.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    json: JsonOption = False,
) -> None:
    """Play one ReAct episode against any OpenAI endpoint and print its steps."""
    from agents.endpoint import OpenAIPolicy
    from agents.play import play_one
    from serving.client import Endpoint

    where = Endpoint(endpoint, api_key or "none", model)
    policy = OpenAIPolicy(where, max_tokens, temperature)
    play_one(question, policy, max_turns=max_turns, seed=seed, as_json=json)


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="runs/NAME/STAGE or an artifact directory.")],
    count: Annotated[int, typer.Option("-n", min=0, help="Episodes to print.")] = 3,
    json: JsonOption = False,
) -> None:
    """Print the first episodes of a trajectories artifact, and its summary."""
    from agents.show import print_trajectories

    print_trajectories(path, count, json)
