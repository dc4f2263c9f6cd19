"""Verbs of the serving room: ``inkstone serve VERB``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Checkpoint to engine to endpoint.")

KeyOption = Annotated[
    str | None,
    typer.Option(help="API key clients must send.", envvar="INKSTONE_API_KEY", show_envvar=True),
]

CompiledOption = Annotated[
    bool, typer.Option(help="On a CPU, compile kernels for what lies between the products.")
]
CopyBitsOption = Annotated[
    int, typer.Option(help="A 4-bit model: bits per weight of its copy, 8 or 16.")
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
    compiled: CompiledOption = True,
    copy_bits: CopyBitsOption = 8,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    tensor_parallel: Annotated[
        int, typer.Option(min=1, help="Processes that share the model's layers.")
    ] = 1,
    lora: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="A LoRA adapter to offer as a model; repeatable."),
    ] = None,
    engine: Annotated[str, typer.Option(help="paged, transformers, vllm or lmdeploy.")] = "paged",
    json: Annotated[bool, typer.Option("--json", help="Print the endpoint as JSON.")] = False,
) -> None:
    """Serve a model with OpenAI's API until Ctrl-C or SIGTERM.

    Without --api-key one is made, printed and stored nowhere.
    """
    from serving.settings import EngineSettings
    from serving.start import start_endpoint

    settings = EngineSettings(
        slots=slots,
        max_context=max_context,
        cache_tokens=cache_tokens,
        reproducible=reproducible,
        int8_cache=int8_cache,
        compiled=compiled,
        copy_bits=copy_bits,  # type: ignore[arg-type]
        device=device,
        tensor_parallel=tensor_parallel,
        engine=engine,
    )
    start_endpoint(
        model,
        settings,
        host=host,
        port=port,
        api_key=api_key,
        name=name,
        lora=lora or [],
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


@app.command()
def bench(
    target: Annotated[
        str, typer.Argument(help="A model, or the URL of an endpoint (http://HOST:PORT/v1).")
    ],
    requests: Annotated[int, typer.Option(min=1, help="How many to send.")] = 64,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Requests per second (Poisson); by default all at once."),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Requests under way at most.")
    ] = None,
    prompt_tokens: Annotated[
        str, typer.Option(help="N, uniform:LOW:HIGH or lognormal:MEDIAN:SIGMA.")
    ] = "128",
    new_tokens: Annotated[str, typer.Option(help="Likewise, of answers.")] = "64",
    shared_prefix: Annotated[
        int, typer.Option(min=0, help="Tokens all prompts begin with, before their own.")
    ] = 0,
    prompts: Annotated[
        Path | None, typer.Option(help="JSON Lines with prompts instead of random tokens.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of lengths, tokens and arrivals.")] = 0,
    api_key: KeyOption = None,
    slots: Annotated[int, typer.Option(min=1, help="A model: sequences at once.")] = 16,
    max_context: Annotated[
        int | None, typer.Option(min=1, help="A model: tokens per sequence.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="A model: by default all.")] = None,
    cache_tokens: Annotated[
        int | None, typer.Option(min=1, help="A model: tokens the cache holds in all.")
    ] = None,
    int8_cache: Annotated[bool, typer.Option(help="A model: keys and values in 8 bits.")] = False,
    reproducible: Annotated[
        bool, typer.Option(help="A model: answers that do not depend on company; slower.")
    ] = True,
    dense_rows: Annotated[
        int | None,
        typer.Option(min=0, help="A 4-bit model: rows from which on a copy is used; 0: none."),
    ] = None,
    compiled: CompiledOption = True,
    copy_bits: CopyBitsOption = 8,
    device: Annotated[str, typer.Option(help="A model: auto, cpu or cuda.")] = "auto",
    json: Annotated[str | None, typer.Option(help="Write the result here; - prints it.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw it here, by ending (.svg).")] = None,
) -> None:
    """Measure latency and throughput of a model in this process, or of an endpoint."""
    from serving.bench.command import Load, bench_and_report
    from serving.bench.lengths import parse_lengths
    from serving.settings import EngineSettings

    load = Load(
        requests=requests,
        prompts=parse_lengths("--prompt-tokens", prompt_tokens),
        new=parse_lengths("--new-tokens", new_tokens),
        shared=shared_prefix,
        file=prompts,
        rate=rate,
        concurrency=concurrency,
        seed=seed,
    )
    settings = EngineSettings(
        slots=slots,
        max_context=max_context,
        threads=threads,
        cache_tokens=cache_tokens,
        reproducible=reproducible,
        int8_cache=int8_cache,
        dense_rows=dense_rows,
        compiled=compiled,
        copy_bits=copy_bits,  # type: ignore[arg-type]
        device=device,
    )
    bench_and_report(target, load, settings, api_key, json_to=json, plot_to=plot)


@app.command()
def quantize(
    model: Annotated[
        str, typer.Argument(help="HF model directory, artifact directory, or runs/NAME/STAGE.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
    method: Annotated[
        str | None,
        typer.Option(help="rtn, awq or nf4; by default awq with --calibration, else rtn."),
    ] = None,
    bits: Annotated[int, typer.Option(help="4, or 8 with rtn.")] = 4,
    group: Annotated[int, typer.Option(help="Inputs per scale: 32, 64 or 128.")] = 128,
    lm_head: Annotated[bool, typer.Option(help="Pack the output projection too.")] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Text that scales are searched on: token store, .txt, .md, .jsonl."),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option("--eval", help="Text for perplexity; by default the calibration text's end."),
    ] = None,
    windows: Annotated[int, typer.Option(min=1, help="Calibration windows of 512 tokens.")] = 32,
    measure: Annotated[bool, typer.Option(help="Measure quality and speed.")] = True,
    dense_copy: Annotated[
        bool, typer.Option(help="Let engines keep bf16 copies where they are faster.")
    ] = True,
    threads: Annotated[int | None, typer.Option(min=1, help="Compute threads.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Pack a model's weights into 4 or 8 bits, and measure what that cost and gained."""
    from serving.quant.asked import Asked
    from serving.quant.command import quantize_model

    quantize_model(
        Asked(
            model=model,
            out=out,
            method=method,
            bits=bits,
            group=group,
            lm_head=lm_head,
            calibration=calibration,
            held_out=held_out,
            windows=windows,
            measure=measure,
            dense_copy=dense_copy,
            threads=threads,
            as_json=json,
        )
    )
