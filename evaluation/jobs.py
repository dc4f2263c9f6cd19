"""The work of a run in pieces: one contestant, one benchmark, one block of samples."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from clusters.units import Units
from contracts.engine import Engine
from contracts.score import Score
from evaluation.benchmark import Benchmark
from evaluation.contestants import Contestant
from evaluation.controls import oracle_engine, unigram_engine
from evaluation.evaluate import evaluate
from evaluation.samples import Sample
from serving.load import load_engine
from serving.testing import UniformEngine
from serving.tokenizer import ChatTokenizer

STEP = "score"
_LATENCY = "latency.json"

SCHEMA = pa.schema(
    [
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("prompt_hash", pa.string(), nullable=False),
        pa.field("output", pa.string(), nullable=False),
        pa.field("extracted", pa.string()),
        pa.field("correct", pa.float64(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("prompt_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("uid", pa.uint64()),
    ]
)
"""``scores/part-*.parquet``: ``contracts.score.Score`` without its latency."""


@dataclass(frozen=True)
class Job:
    """One work unit."""

    contestant: Contestant
    benchmark: Benchmark
    block: int
    samples: tuple[Sample, ...]

    @property
    def key(self) -> str:
        """Names the unit and its data file."""
        return f"{self.contestant.entry.label}-{self.benchmark.name}-{self.block:04d}"

    @property
    def unit(self) -> str:
        """Name of its work unit."""
        return f"{STEP}/{self.key}"


def blocks(
    contestant: Contestant, benchmark: Benchmark, samples: Sequence[Sample], size: int
) -> list[Job]:
    """All samples of a benchmark, ``size`` to a block; 0 keeps them in one."""
    size = size or len(samples)
    return [
        Job(contestant, benchmark, index, tuple(samples[start : start + size]))
        for index, start in enumerate(range(0, len(samples), size))
    ]


class EngineCache:
    """Opens the engine a job needs and keeps it for the next job of the same contestant."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._key: tuple[str, str] | None = None
        self._engine: Engine | None = None
        self._tokenizer: tuple[Path, ChatTokenizer] | None = None

    def tokenizer(self, model_dir: Path) -> ChatTokenizer:
        """The tokenizer of a model directory."""
        if self._tokenizer is None or self._tokenizer[0] != model_dir:
            self._tokenizer = (model_dir, ChatTokenizer.load(model_dir))
        return self._tokenizer[1]

    def engine(self, job: Job) -> Engine:
        """The engine of a job; the one before is closed."""
        contestant = job.contestant
        # An oracle knows one block's answers; everything else answers any block.
        part = job.key if contestant.what == "oracle" else ""
        key = (contestant.entry.label, part)
        if self._engine is None or self._key != key:
            self.close()
            self._engine = self._open(job)
            self._key = key
        return self._engine

    def close(self) -> None:
        """Free the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _open(self, job: Job) -> Engine:
        contestant = job.contestant
        if contestant.what == "artifact":
            # One thread: results must not depend on how many cores a worker finds.
            return load_engine(contestant.model_dir, slots=self._slots, threads=1)
        if contestant.what == "unigram" and contestant.counts is not None:
            return unigram_engine(contestant.counts)
        tokenizer = self.tokenizer(contestant.model_dir)
        if contestant.what == "oracle":
            return oracle_engine(job.benchmark, job.samples, tokenizer)
        return UniformEngine(tokenizer.vocab_size, seed=contestant.seed)


def run_job(job: Job, cache: EngineCache, units: Units) -> int:
    """Score one job and publish its rows; returns how many there are."""
    engine = cache.engine(job)
    tokenizer = cache.tokenizer(job.contestant.model_dir)
    with units.start(job.unit) as unit:
        model = job.contestant.entry.model
        rows = evaluate(engine, tokenizer, job.benchmark, job.samples, model=model)
        write_rows(unit.path(f"scores/part-{job.key}.parquet"), rows)
        latencies = [row.latency_ms for row in rows]
        unit.scratch(_LATENCY).write_text(json.dumps(latencies))
        unit.stats["rows"] = len(rows)
    return len(rows)


def write_rows(path: Path, rows: Sequence[Score]) -> None:
    """Rows as Parquet, latency left out."""
    values = [row.model_dump(exclude={"latency_ms"}) for row in rows]
    pq.write_table(pa.Table.from_pylist(values, schema=SCHEMA), path)


def read_rows(path: Path) -> list[Score]:
    """Rows of one ``scores/part-*.parquet``."""
    return [Score(**row) for row in pq.read_table(path).to_pylist()]


def published_rows(units: Units, jobs: Sequence[Job]) -> Iterator[Score]:
    """Rows of published jobs in order, with their latencies."""
    for job in jobs:
        record = units.published(job.unit)
        (path,) = record.files.values()
        latencies = json.loads(units.resolve(record.scratch[_LATENCY]).read_text())
        for row, latency in zip(read_rows(units.resolve(path)), latencies, strict=True):
            yield row.model_copy(update={"latency_ms": latency})
