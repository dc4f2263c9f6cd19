"""``inkstone serve bench``: load, measure, report."""

import asyncio
import json
import os
import random
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.config import ConfigError
from clusters.progress import Progress
from serving.bench.drive import Record, drive
from serving.bench.lengths import Lengths
from serving.bench.summary import summarise
from serving.bench.targets import EngineTarget, Target, open_endpoint
from serving.bench.workload import Ask, arrivals, random_asks, read_asks
from serving.settings import EngineSettings

if TYPE_CHECKING:
    from serving.engine.engine import PagedEngine

ANY_VOCABULARY = 256
"""Ids below it are drawn for an endpoint: every byte-level tokenizer has as many."""
_WARM_UP_TOKENS = 4


@dataclass(frozen=True)
class Load:
    """What is asked, and how fast."""

    requests: int
    prompts: Lengths
    """Tokens of a prompt, the shared ones apart."""
    new: Lengths
    """Tokens to generate."""
    shared: int = 0
    """Tokens that all prompts begin with."""
    file: Path | None = None
    """JSON Lines with prompts, instead of random ones."""
    rate: float | None = None
    """Requests per second; None: all are there at once."""
    concurrency: int | None = None
    """Requests under way at most; None: no limit."""
    seed: int = 0

    def describe(self) -> str:
        """The load in a few words."""
        pace = f"{self.rate:g} requests/s" if self.rate else "all at once"
        limit = f", at most {self.concurrency} under way" if self.concurrency else ""
        return f"{self.requests} requests, {pace}{limit}"


def run_bench(
    target: str, load: Load, settings: EngineSettings, api_key: str | None
) -> tuple[dict[str, Any], list[Record]]:
    """Measure a model in this process, or the endpoint behind a URL.

    Returns:
        The result as plain data, and the records it was made of.

    Raises:
        ConfigError: no such model, no endpoint, a prompts file that is none, or no request
            was answered.
        ModelError: the model is damaged or unsupported.
    """
    if target.startswith(("http://", "https://")):
        result, records = asyncio.run(_online(target, load, api_key))
    else:
        result, records = _offline(target, load, settings)
    summary = summarise(records)
    if summary.failed == summary.requests:
        raise ConfigError(f"{target}: no request was answered; the first: {summary.first_error}")
    return {
        "target": target,
        "load": load.describe(),
        **result,
        "summary": asdict(summary),
    }, records


async def _online(url: str, load: Load, api_key: str | None) -> tuple[dict[str, Any], list[Record]]:
    async with open_endpoint(url, api_key) as target:
        asks = _asks(load, ANY_VOCABULARY)
        cached, records = await _measure(target, load, asks)
    return {"engine": None, "cached_tokens": cached, "roofline": None}, records


def _offline(
    name: str, load: Load, settings: EngineSettings
) -> tuple[dict[str, Any], list[Record]]:
    from serving.folder import ModelFolder
    from serving.load import load_engine
    from serving.resolve import resolve_model

    folder = ModelFolder(resolve_model(name))
    asks = [_encoded(folder.path, ask) for ask in _asks(load, folder.config.vocab_size)]
    context = settings.max_context or max(len(ask.prompt) + ask.max_tokens for ask in asks)
    threads = settings.threads or len(os.sched_getaffinity(0))
    dense = folder.dense_rows if settings.dense_rows is None else settings.dense_rows
    settings = replace(settings, max_context=context, threads=threads, dense_rows=dense)
    engine: Any = load_engine(folder.path, settings)
    try:
        return asyncio.run(_in_process(engine, load, asks, settings))
    finally:
        engine.close()


async def _in_process(
    engine: "PagedEngine", load: Load, asks: list[Ask], settings: EngineSettings
) -> tuple[dict[str, Any], list[Record]]:
    from serving.bench.roofline import roofline

    target = EngineTarget(engine)
    await _warm_up(target, asks)
    before = engine.decoding
    cached, records = await _measure(target, load, asks, warm=True)
    roof = roofline(
        engine.runner.model,
        engine.decoding.since(before),
        engine.runner.place_bytes,
        settings.dense_rows,
        settings.copy_bits,
    )
    return {
        "engine": asdict(settings),
        "cached_tokens": cached,
        "roofline": roof and asdict(roof),
    }, records


async def _measure(
    target: Target, load: Load, asks: list[Ask], warm: bool = False
) -> tuple[int | None, list[Record]]:
    """Prompt tokens that the prefix cache held, where it is said, and the records."""
    if not warm:
        await _warm_up(target, asks)
    before = await target.cached_tokens()
    times = arrivals(random.Random(load.seed + 1), len(asks), load.rate)
    with Progress(sys.stderr).task("requests", len(asks), "requests") as task:
        records = await drive(target, asks, times, load.concurrency, task)
    after = await target.cached_tokens()
    return None if after is None else after - (before or 0), records


async def _warm_up(target: Target, asks: list[Ask]) -> None:
    """One short answer to a prompt that shares nothing with those that are measured."""
    ask = asks[0]
    prompt = ask.prompt[::-1] if isinstance(ask.prompt, tuple) else ask.prompt[:1]
    short = Ask(prompt, min(_WARM_UP_TOKENS, ask.max_tokens))
    await drive(target, [short], [0.0], None, name="warm-up")


def _asks(load: Load, vocabulary: int) -> list[Ask]:
    rng = random.Random(load.seed)
    if load.file is not None:
        return read_asks(load.file, rng, load.requests, load.new)
    return random_asks(rng, load.requests, load.prompts, load.new, vocabulary, load.shared)


def _encoded(path: Path, ask: Ask) -> Ask:
    if isinstance(ask.prompt, tuple):
        return ask
    from serving.tokenizer import ChatTokenizer

    return replace(ask, prompt=tuple(ChatTokenizer.load(path).encode(ask.prompt)))


def bench_and_report(
    target: str,
    load: Load,
    settings: EngineSettings,
    api_key: str | None,
    *,
    json_to: str | None,
    plot_to: Path | None,
) -> None:
    """Measure, print a table, and write JSON and a picture where they are asked for.

    Raises:
        ConfigError: as :func:`run_bench`, or a file cannot be written; the latter is said first.
        ModelError: the model is damaged or unsupported.
    """
    from rich.console import Console

    from serving.bench.plot import check_plot, draw
    from serving.bench.render import render

    if json_to not in (None, "-") and not Path(str(json_to)).absolute().parent.is_dir():
        raise ConfigError(f"--json {json_to}: no such folder")
    if plot_to is not None:
        check_plot(plot_to)
    result, records = run_bench(target, load, settings, api_key)
    render(result, Console(stderr=json_to == "-"))
    if json_to is not None:
        _write(result, json_to)
    if plot_to is not None:
        draw(records, f"{target}: {result['load']}", plot_to)


def _write(result: dict[str, Any], target: str) -> None:
    text = json.dumps(result, indent=2) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--json {target}: {error}") from None
