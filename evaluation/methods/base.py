"""What a method is: it draws samples, asks an engine, grades outputs and sums up."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from contracts.engine import Capability, Engine
from contracts.manifest import hash_bytes
from contracts.score import Score
from evaluation.benchmark import Benchmark
from evaluation.samples import ALL, Sample, Sources
from evaluation.statistics import Estimate
from serving.tokenizer import ChatTokenizer

B = TypeVar("B", bound=Benchmark)
S = TypeVar("S", bound=Sample)


@dataclass(frozen=True)
class Answer:
    """What an engine said, before grading."""

    output: str
    prompt_hash: str
    prompt_tokens: int
    output_tokens: int
    truncated: bool = False


@dataclass(frozen=True)
class Grade:
    """What an output is worth."""

    extracted: str | None
    """The answer found in the output; None where there is none."""
    correct: float


@dataclass(frozen=True)
class Metric:
    """One figure of one model on one benchmark."""

    name: str
    estimate: Estimate
    group: str = ALL
    """``all``, or the domain it is about."""
    chance: float | None = None
    """Expected value of a uniform guesser; None for losses."""


class Method(ABC, Generic[B, S]):
    """A way of measuring. Stateless: everything it needs is handed in."""

    sample_type: type[S]
    """Class of its samples, to read ``samples.jsonl`` with."""
    needs: frozenset[Capability]
    """What the engine must be able to do."""
    controlled: bool = True
    """Whether right answers exist, so that an oracle and a guesser can be asked."""

    @abstractmethod
    def draw(self, benchmark: B, sources: Sources) -> list[S]:
        """The samples, in a stable order."""

    @abstractmethod
    def prompt(self, tokenizer: ChatTokenizer, benchmark: B, sample: S) -> list[int]:
        """Token ids that the model is shown before it answers."""

    @abstractmethod
    async def ask(
        self, engine: Engine, tokenizer: ChatTokenizer, benchmark: B, sample: S
    ) -> Answer:
        """Put one sample to the engine. Raises EngineError where it refuses."""

    @abstractmethod
    def grade(self, tokenizer: ChatTokenizer, benchmark: B, sample: S, output: str) -> Grade:
        """Grade a saved output; needs no engine."""

    @abstractmethod
    def metrics(self, benchmark: B, samples: Sequence[S], rows: Sequence[Score]) -> list[Metric]:
        """Figures from the rows of one model, the headline first."""


def hash_ids(*sequences: Sequence[int]) -> str:
    """32 hex digits that name a prompt by its token ids."""
    parts = [np.asarray(ids, dtype="<u4").tobytes() for ids in sequences]
    lengths = np.asarray([len(part) for part in parts], dtype="<u4").tobytes()
    return hash_bytes(lengths + b"".join(parts))[:32]


def by_sample(samples: Sequence[S], rows: Sequence[Score]) -> list[tuple[S, Score]]:
    """Pair every sample with its row.

    Raises:
        ValueError: a row is missing; no figure is made from part of a benchmark.
    """
    found = {row.sample_id: row for row in rows}
    missing = [sample.id for sample in samples if sample.id not in found]
    if missing:
        raise ValueError(f"{len(missing)} of {len(samples)} samples have no score: {missing[0]}")
    return [(sample, found[sample.id]) for sample in samples]
