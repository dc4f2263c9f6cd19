"""Stage ``agents.rollout``: a served model plays episodes, recorded turn by turn.

Each episode is a work unit and a Ray task. A task that dies is tried again; the first
try that publishes its unit is the episode. Sampling is greedy or seeded, so every try
says the same, and the artifact holds no port, key, time or attempt number.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from agents.assignment import Assignment, assignments, read_turns
from agents.summary import summarise
from agents.workers import play_all
from clusters.config import StageConfig, execution
from clusters.failpoints import failpoint
from clusters.stage import Requirements, StageContext
from contracts.trajectory import to_table

SLOTS = 8
"""Sequences the endpoint decodes at once. Fixed: the shapes of its matrix products follow
from it, and with them the last bits of the log-probs."""
THREADS = 1
"""Of the replica. Fixed for the same reason: how a sum is cut depends on the threads."""


class RolloutConfig(StageConfig):
    """Which episodes are played, how answers are sampled, and how many run at once."""

    episodes: int = Field(48, ge=1, le=100_000)
    """Validation problems to play."""
    samples: int = Field(1, ge=1, le=64)
    """Episodes per problem; more than one makes sense above temperature 0."""
    max_turns: int = Field(4, ge=1, le=64)
    """Replies of the policy in one episode."""
    max_tokens: int = Field(48, ge=1, le=8192)
    """Tokens of one reply."""
    temperature: float = Field(0.0, ge=0.0, le=2.0)
    """0 is greedy; above it, each turn has its own seed."""
    concurrency: int = execution(4, ge=1, le=1024)
    """Episodes in flight."""
    attempts: int = execution(3, ge=1, le=100)
    """Tries of one episode before the stage gives up."""
    port: int = execution(0, ge=0, le=65535)
    """Port of the endpoint on loopback; 0 takes a free one."""


def needed(config: RolloutConfig) -> Requirements:
    """Serve's processes, the replica and a worker per episode in flight (0.3 GB each)."""
    return Requirements(cpus=1.0, memory_bytes=(1200 + 300 * config.concurrency) << 20)


def rollout(context: StageContext) -> dict[str, Any]:
    """Play what is not played yet, then write ``trajectories.parquet`` and ``summary.json``."""
    import pyarrow.parquet as pq

    config: RolloutConfig = context.config
    every = assignments(
        context.out.directory.name,  # the fingerprint: ids then follow from what was asked
        episodes=config.episodes,
        samples=config.samples,
        seed=context.seed,
    )
    units = context.out.units
    pending = set(units.pending([one.unit for one in every]))
    if pending:
        _serve_and_play(context, [one for one in every if one.unit in pending])
    failpoint("agents.rollout.before_gather")
    episodes = [(one.problem, read_turns(units, one)) for one in every]
    rows = [row for _, played in episodes for row in played]
    pq.write_table(to_table(rows), context.out.path("trajectories.parquet"), compression="zstd")
    summary = summarise(episodes)
    text = json.dumps(summary, indent=1, sort_keys=True) + "\n"
    context.out.path("summary.json").write_text(text, encoding="utf-8")
    counts = {"episodes": summary["episodes"], "steps": summary["steps"]}
    return {"in": {"problems": config.episodes}, "out": counts, **summary}


def _serve_and_play(context: StageContext, todo: list[Assignment]) -> None:
    from agents.endpoint import EndpointPolicy
    from serving.app import serve_model
    from serving.settings import EngineSettings

    config: RolloutConfig = context.config
    model = context.input("model").path("model")
    engine = EngineSettings(slots=SLOTS, threads=THREADS)
    with serve_model(model, model_name=context.name, port=config.port, engine=engine) as endpoint:
        failpoint("agents.rollout.serving")
        timings = play_all(
            todo,
            EndpointPolicy(endpoint, config.max_tokens, config.temperature),
            context.out.units,
            context.progress,
            max_turns=config.max_turns,
            concurrency=config.concurrency,
            attempts=config.attempts,
        )
        _log(context.log_dir / "episodes.jsonl", timings)


def _log(path: Path, timings: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        for timing in timings:
            file.write(json.dumps(timing) + "\n")
            file.flush()
