"""Stage ``evaluation.run``: models in, scores out, controls beside them."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from clusters.config import StageConfig, execution
from clusters.stage import Requirements, StageContext
from contracts.manifest import ExternalInput, hash_file
from evaluation.benchmark import Benchmark, benchmark_path, load_benchmark

TOKENS_TRAIN = "tokens/train"
TOKENS_VALIDATION = "tokens/validation"


class RunConfig(StageConfig):
    """Which benchmarks to run, and how."""

    benchmarks: list[str] = Field(
        ["heldout_loss", "docs_choice", "docs_choice_text", "arithmetic"], min_length=1
    )
    """Names of benchmarks that ship, or paths of .yaml files."""
    limit: int | None = Field(None, ge=2)
    """At most this many samples (windows per domain) of each benchmark, for a quick look."""
    block_size: int = Field(64, ge=1)
    """Samples of a work unit: what a killed run does again."""
    slots: int = Field(16, ge=1)
    """Sequences an engine runs at once."""
    workers: int = execution(2, ge=1)
    """Processes that evaluate side by side, one thread each."""
    cpus_per_worker: float = execution(0.5, gt=0)
    """CPUs each worker takes from Ray."""


def external(config: RunConfig) -> list[ExternalInput]:
    """The benchmark files, by content; raises ConfigError where one is missing or wrong."""
    items = []
    for name in config.benchmarks:
        benchmark = load_benchmark(name)
        size, checksum = hash_file(benchmark_path(name))
        items.append(ExternalInput(name=f"benchmark/{benchmark.name}", bytes=size, blake3=checksum))
    return items


def requires(config: RunConfig) -> Requirements:
    """A worker holds torch and one small model: about 800 MB."""
    return Requirements(
        cpus=config.workers * config.cpus_per_worker, memory_bytes=config.workers * (800 << 20)
    )


def run(context: StageContext) -> dict[str, Any]:
    """Evaluate all models and the base on every benchmark; see docs/evaluation.md."""
    from evaluation.assemble import assemble
    from evaluation.planning import plan
    from evaluation.queue import run_jobs

    config: RunConfig = context.config
    made = plan(context, benchmarks(config))

    def work(jobs: Sequence[Any]) -> None:
        units = context.out.units
        pending = set(units.pending([job.unit for job in jobs]))
        waiting = [job for job in jobs if job.unit in pending]
        total = sum(len(job.samples) for job in jobs)
        with context.progress.task("evaluate", total, "samples") as task:
            task.resume(total - sum(len(job.samples) for job in waiting))
            for rows in run_jobs(
                waiting,
                units,
                slots=config.slots,
                workers=config.workers,
                cpus_per_worker=config.cpus_per_worker,
            ):
                task.advance(rows)

    return assemble(context, made, work)


def benchmarks(config: RunConfig) -> list[Benchmark]:
    """The benchmarks, cut to ``limit`` samples."""
    loaded = [load_benchmark(name) for name in config.benchmarks]
    if config.limit is None:
        return loaded
    limit = config.limit
    return [b.model_copy(update={"samples": min(limit, b.samples)}) for b in loaded]
