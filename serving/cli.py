"""Verbs of the serving room: ``inkstone serve VERB``."""

from typing import Annotated

import typer

from clusters.stage_verbs import add_stage_verb

app = typer.Typer(no_args_is_help=True, help="Checkpoint to engine to endpoint.")
add_stage_verb(app, "quantize", "serving.quantize", "Pack weights into 4 bits.")

KeyOption = Annotated[
    str | None,
    typer.Option(help="API key clients must send.", envvar="INKSTONE_API_KEY", show_envvar=True),
]


@app.command()
def start(
    model: Annotated[
        str, typer.Argument(help="HF model directory, artifact directory, or runs/NAME/STAGE.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    api_key: KeyOption = None,
    name: Annotated[
        str | None, typer.Option(help="Model name clients ask for; by default the folder's.")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="Sequences that run at once.")] = 16,
    max_context: Annotated[
        int | None, typer.Option(min=1, help="Tokens per sequence; by default the model's.")
    ] = None,
    cache_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens the cache holds in all; by default every slot full."),
    ] = None,
    int8_cache: Annotated[bool, typer.Option(help="Keep keys and values in 8 bits.")] = False,
    reproducible: Annotated[
        bool, typer.Option(help="Answers do not depend on company, bit for bit; slower.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the endpoint as JSON.")] = False,
) -> None:
    """Serve a model with OpenAI's API until Ctrl-C or SIGTERM.

    Without --api-key one is made, printed and stored nowhere.
    """
    from serving.start import start_endpoint

    start_endpoint(
        model,
        host=host,
        port=port,
        api_key=api_key,
        name=name,
        slots=slots,
        max_context=max_context,
        cache_tokens=cache_tokens,
        int8_cache=int8_cache,
        reproducible=reproducible,
        as_json=json,
    )


@app.command()
def chat(
    target: Annotated[
        str, typer.Argument(help="URL of an endpoint (http://HOST:PORT/v1), or a model.")
    ],
    api_key: KeyOption = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens per answer.")] = 256,
) -> None:
    """Talk to a model in the terminal. /reset forgets, /exit (or end of input) leaves."""
    from serving.terminal import talk

    talk(target, api_key, system, temperature, max_tokens)
