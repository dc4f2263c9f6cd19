"""What one process is asked to measure: a JSON object as its only argument."""

import json
import random
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.peers import run_timed
from benchmarks.serving.model import SIZES

PROMPT, NEW = 128, 64


@dataclass(frozen=True)
class Asked:
    """One model and one batch of requests."""

    path: str
    """Model directory."""
    batch: int
    """Requests, all sent at once."""
    threads: int
    """Torch threads."""
    repeats: int
    """Runs that count, after one to warm up; the best is said."""
    prompt: int = PROMPT
    """Tokens of each prompt."""
    new: int = NEW
    """Tokens to make for each."""
    shared: int = 0
    """Tokens that all prompts begin with."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of our engine (``serving.settings.EngineSettings``)."""

    def prompts(self) -> list[list[int]]:
        """The prompts: the same in every process that is asked for as many."""
        rng = random.Random(self.batch)
        start = _tokens(rng, self.shared)
        return [start + _tokens(rng, self.prompt - self.shared) for _ in range(self.batch)]


def _tokens(rng: random.Random, count: int) -> list[int]:
    return [rng.randrange(SIZES["vocab_size"]) for _ in range(count)]


def asked() -> Asked:
    """What this process is asked for."""
    return Asked(**json.loads(sys.argv[1]))


def measure(what: str, question: Asked) -> dict[str, Any]:
    """Ask ``benchmarks.serving.processes.WHAT`` in a new process; what it says.

    Raises:
        RuntimeError: it failed.
    """
    module = f"benchmarks.serving.processes.{what}"
    return run_timed([sys.executable, "-m", module, json.dumps(asdict(question))])


def best(runs: list[dict[str, Any]]) -> dict[str, float]:
    """The highest of each speed that some processes said."""
    return {name: max(run[name] for run in runs) for name in ("prefill", "decode", "whole")}
