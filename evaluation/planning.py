"""What a run will ask whom: contestants, samples, and the checks before anything starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clusters.artifact import Artifact, ArtifactError
from clusters.stage import StageContext
from contracts.question import Question, read_questions
from contracts.token_store import STORE_NAME, TokenStoreMeta, shard_uids
from evaluation.benchmark import Benchmark
from evaluation.contestants import (
    Contestant,
    control,
    from_artifacts,
    unigram,
)
from evaluation.controls import DRAWS
from evaluation.jobs import Job, blocks
from evaluation.methods.registry import method_of
from evaluation.run import TOKENS_TRAIN, TOKENS_VALIDATION, RunConfig
from evaluation.samples import Sample, Sources
from evaluation.vocabulary import token_bytes

QUESTIONS = "questions.jsonl"


@dataclass(frozen=True)
class Plan:
    """A run, before it is worked off."""

    benchmarks: list[Benchmark]
    samples: dict[str, list[Sample]]
    """By benchmark."""
    contestants: list[Contestant]
    """The models, the base and the unigram baseline, in the order of the report."""
    block_size: int
    seed: int

    @property
    def model_dir(self) -> Path:
        """The first model's folder: controls use its tokenizer."""
        return self.contestants[0].model_dir

    def jobs(self, contestant: Contestant, benchmark: Benchmark) -> list[Job]:
        """The work of one contestant on one benchmark."""
        # A baseline is fast: one block.
        size = self.block_size if contestant.what == "artifact" else 0
        return blocks(contestant, benchmark, self.samples[benchmark.name], size)

    def takes(self, contestant: Contestant, benchmark: Benchmark) -> bool:
        """Whether this contestant has anything to say to this benchmark."""
        return contestant.what == "artifact" or not method_of(benchmark).controlled

    def oracle_jobs(self, benchmark: Benchmark) -> list[Job]:
        """The oracle's pass over a benchmark."""
        return self.jobs(control("oracle", self.model_dir, self.seed), benchmark)

    def uniform_jobs(self, benchmark: Benchmark) -> list[list[Job]]:
        """Every pass of the uniform engine over a benchmark."""
        return [
            self.jobs(control("uniform", self.model_dir, self.seed, draw), benchmark)
            for draw in range(1, DRAWS + 1)
        ]


def plan(context: StageContext, benchmarks: Sequence[Benchmark]) -> Plan:
    """Draw every sample and check that none was trained on.

    Raises:
        ArtifactError: an input lacks something, or a sample comes from a training document.
    """
    config: RunConfig = context.config
    tokens = context.input("tokens")
    models = from_artifacts(context.inputs["models"], context.input("base"))
    sources = Sources(
        validation=tokens.path(TOKENS_VALIDATION),
        questions=_questions(context.input("questions")),
        token_bytes=token_bytes(models[0].model_dir / "tokenizer.json"),
    )
    samples = {b.name: method_of(b).draw(b, sources) for b in benchmarks}
    for name, drawn in samples.items():
        if not drawn:
            raise ArtifactError(
                f"{name}: nothing to ask; the validation split or questions.jsonl is empty, "
                "so make the corpus larger or leave this benchmark out"
            )
    check_held_out(samples, tokens.path(TOKENS_TRAIN))
    baseline = unigram(models[0].model_dir, tokens.path(TOKENS_TRAIN))
    return Plan(list(benchmarks), samples, [*models, baseline], config.block_size, context.seed)


def _questions(artifact: Artifact) -> list[Question]:
    try:
        return read_questions(artifact.path(QUESTIONS))
    except ValueError as error:
        raise ArtifactError(str(error)) from error


def check_held_out(samples: dict[str, list[Sample]], train: Path) -> None:
    """Refuse samples made from training documents.

    Raises:
        ArtifactError: names the benchmark, the document and how many there are.
    """
    meta = TokenStoreMeta.model_validate_json((train / STORE_NAME).read_text())
    asked = {s.uid for drawn in samples.values() for s in drawn if s.uid is not None}
    seen: set[int] = set()
    for shard in meta.shards:
        seen |= asked.intersection(shard_uids(train, shard).tolist())
    for name, drawn in samples.items():
        trained = [s for s in drawn if s.uid in seen]
        if trained:
            raise ArtifactError(
                f"{name}: {len(trained)} of {len(drawn)} samples are made from training "
                f"documents, e.g. {trained[0].id} from {trained[0].uid}; build it from "
                "validation documents only"
            )
