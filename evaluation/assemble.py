"""Works a plan off, holds the controls to their marks, and writes what came out."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from clusters.failpoints import failpoint
from clusters.stage import StageContext
from clusters.units import Units
from contracts.score import Score
from evaluation.benchmark import Benchmark
from evaluation.contestants import Contestant
from evaluation.controls import oracle_controls, require, uniform_controls
from evaluation.database import Origin, insert, open_database
from evaluation.jobs import EngineCache, Job, published_rows
from evaluation.methods.registry import method_of
from evaluation.planning import Plan
from evaluation.samples import AskedSample
from evaluation.summary import Control, Result, Summary, results_of

SUMMARY = "summary.json"
SAMPLES = "samples.jsonl"
BENCHMARKS = "benchmarks.json"

Work = Callable[[Sequence[Job]], None]
"""Gets jobs published, by whatever means."""


def assemble(context: StageContext, plan: Plan, work: Work) -> dict[str, Any]:
    """Run everything, then write summary, samples and database rows.

    Raises:
        ControlFailed: an oracle or uniform engine did not get what it must.
    """
    units = context.out.units
    first = [job for contestant, b in _pairs(plan) for job in plan.jobs(contestant, b)]
    controlled = [b for b in plan.benchmarks if method_of(b).controlled]
    oracle = [job for b in controlled for job in plan.oracle_jobs(b)]
    uniform = [job for b in controlled for one in plan.uniform_jobs(b) for job in one]
    work(first + oracle + uniform)

    rows: list[Score] = []
    results: list[Result] = []
    for contestant, benchmark in _pairs(plan):
        scored = list(published_rows(units, plan.jobs(contestant, benchmark)))
        rows += scored
        samples = plan.samples[benchmark.name]
        results += results_of(contestant.entry.label, benchmark, samples, scored)
    controls = [c for b in controlled for c in _controls(units, plan, b)]
    require(controls)
    entries = [contestant.entry for contestant in plan.contestants]
    summary = Summary(models=entries, results=results, controls=controls)
    _write(context, plan, summary)
    failpoint("evaluation.run.before_insert")
    with open_database(context.scores_url) as database:
        origin = Origin(context.out.directory.name, context.run, context.name)
        insert(database, origin, summary, rows)
    failpoint("evaluation.run.after_insert")
    return _stats(plan, summary, rows)


def _pairs(plan: Plan) -> list[tuple[Contestant, Benchmark]]:
    return [(c, b) for c in plan.contestants for b in plan.benchmarks if plan.takes(c, b)]


def _controls(units: Units, plan: Plan, benchmark: Benchmark) -> list[Control]:
    samples = plan.samples[benchmark.name]
    told = list(published_rows(units, plan.oracle_jobs(benchmark)))
    passes = [list(published_rows(units, jobs)) for jobs in plan.uniform_jobs(benchmark)]
    return [
        *oracle_controls(benchmark, samples, told),
        *uniform_controls(benchmark, samples, passes),
    ]


def _write(context: StageContext, plan: Plan, summary: Summary) -> None:
    tokenizer = EngineCache(slots=1).tokenizer(plan.model_dir)
    with open(context.out.path(SAMPLES), "w", encoding="utf-8") as file:
        for benchmark in plan.benchmarks:
            method = method_of(benchmark)
            for sample in plan.samples[benchmark.name]:
                prompt = tokenizer.decode(method.prompt(tokenizer, benchmark, sample))
                asked = AskedSample(benchmark=benchmark.name, prompt=prompt, sample=sample)
                file.write(asked.model_dump_json() + "\n")
    definitions = [benchmark.model_dump(mode="json") for benchmark in plan.benchmarks]
    context.out.path(BENCHMARKS).write_text(json.dumps(definitions, indent=1) + "\n")
    context.out.path(SUMMARY).write_text(summary.model_dump_json(indent=1) + "\n")


def _stats(plan: Plan, summary: Summary, rows: Sequence[Score]) -> dict[str, Any]:
    headlines: dict[str, float] = {}
    for result in summary.results:
        headlines.setdefault(f"{result.label}/{result.benchmark}", round(result.mean, 4))
    return {
        "in": {name: len(samples) for name, samples in plan.samples.items()},
        "out": {"scores": len(rows), "errors": sum(row.error is not None for row in rows)},
        "headlines": headlines,
    }
