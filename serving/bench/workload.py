"""What is asked: prompts of random tokens by length, or texts from a file; and when."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.config import ConfigError
from serving.bench.lengths import Lengths


@dataclass(frozen=True)
class Ask:
    """One request."""

    prompt: tuple[int, ...] | str
    max_tokens: int


def random_asks(
    rng: random.Random, count: int, prompts: Lengths, new: Lengths, vocabulary: int, shared: int
) -> list[Ask]:
    """Prompts of random token ids.

    Args:
        rng: draws lengths and ids.
        count: how many.
        prompts: lengths of the prompts' own parts.
        new: tokens to generate.
        vocabulary: ids are drawn below it.
        shared: tokens that all prompts begin with, before their own.
    """
    start = tuple(rng.randrange(vocabulary) for _ in range(shared))
    asks = []
    for _ in range(count):
        own = tuple(rng.randrange(vocabulary) for _ in range(prompts.draw(rng)))
        asks.append(Ask(start + own, new.draw(rng)))
    return asks


def read_asks(path: Path, rng: random.Random, count: int, new: Lengths) -> list[Ask]:
    """Prompts from a JSON Lines file, from its beginning again where it is shorter.

    A line is ``{"prompt": text or token ids, "max_tokens": number}``; without ``max_tokens``
    it is drawn from ``new``.

    Raises:
        ConfigError: no such file, or a line that is no prompt.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--prompts {path}: {error}") from None
    rows = [_row(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ConfigError(f"--prompts {path}: no line in it")
    chosen = (rows[index % len(rows)] for index in range(count))
    return [Ask(prompt, limit or new.draw(rng)) for prompt, limit in chosen]


def _row(where: str, line: str) -> tuple[tuple[int, ...] | str, int | None]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where}: no JSON: {error}") from None
    prompt = row.get("prompt") if isinstance(row, dict) else None
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        prompt = tuple(prompt)
    if not prompt or not isinstance(prompt, str | tuple):
        raise ConfigError(f'{where}: "prompt" must be a text or a list of token ids')
    limit = row.get("max_tokens")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ConfigError(f'{where}: "max_tokens" must be a number from 1')
    return prompt, limit


def arrivals(rng: random.Random, count: int, rate: float | None) -> Sequence[float]:
    """Seconds after the start at which each request arrives.

    A Poisson process of ``rate`` requests per second: gaps are exponential with mean
    1 / rate. Without a rate all are there at once.
    """
    if rate is None:
        return [0.0] * count
    times, now = [], 0.0
    for _ in range(count):
        times.append(now)
        now += rng.expovariate(rate)
    return times
