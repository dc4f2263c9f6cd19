"""Choosing how to train: every layout that fits is timed, the fastest is taken."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from trainer.plan.communication import Constants
from trainer.plan.hardware import Cluster, usual_gpus
from trainer.plan.layout import RECOMPUTE, Layout
from trainer.plan.memory import Ledger, ledger
from trainer.plan.model import Shape
from trainer.plan.throughput import Job, Step, computing_seconds

TOKENS_PER_GPU = 16384
"""Tokens per GPU and step where no batch is asked for (InternEvo's scaling tables)."""
NEAR = 0.99
"""A simpler layout is taken when it is this near to the fastest."""
SPLITS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Question:
    """What is to be trained, on what."""

    shape: Shape
    cluster: Cluster
    length: int
    """Tokens of a sequence."""
    batch: int | None = None
    """Sequences per step, over all GPUs; None: 16,384 tokens per GPU."""
    efficiency: float | None = None
    """Share of the GPU's peak that kernels reach alone; None: by GPU and model width."""
    constants: Constants = field(default_factory=Constants)

    def sequences(self, gpus: int) -> int:
        """Sequences per step on that many GPUs."""
        return self.batch or max(1, gpus * TOKENS_PER_GPU // self.length)


@dataclass(frozen=True)
class Choice:
    """A layout with what it holds and how fast it is."""

    question: Question
    layout: Layout
    ledger: Ledger
    step: Step

    @property
    def tokens(self) -> float:
        """Tokens per GPU per second."""
        sequences = self.question.sequences(self.layout.gpus)
        return sequences * self.question.length / self.layout.gpus / self.step.total

    @property
    def mfu(self) -> float:
        """Model FLOPs utilisation: useful FLOP/s over the data sheet's peak."""
        flops = self.question.shape.flops_per_token(self.question.length)
        return self.tokens * flops / self.question.cluster.gpu.peak_flops

    @property
    def simplicity(self) -> tuple[int | bool | float, ...]:
        """Less is simpler."""
        lay = self.layout
        return (
            lay.offload,
            lay.sequence,
            lay.tensor,
            RECOMPUTE.index(lay.recompute),
            lay.zero == 3,
            lay.zero,
            -self.tokens,
        )


@dataclass(frozen=True)
class Refusal:
    """Why a run cannot be, and what would be possible instead."""

    gpus: int
    reason: str
    remedies: list[str]


def plan(question: Question, gpus: int) -> Choice | Refusal:
    """The best layout on ``gpus`` GPUs, or why there is none."""
    sequences = question.sequences(gpus)
    choices = [timed(question, layout) for layout in layouts(question, gpus)]
    if not choices:
        return Refusal(
            gpus,
            f"a batch of {sequences} sequences cannot be split over {gpus} GPUs",
            [*_larger_batches(question, gpus), *_remedies(question, gpus)],
        )
    fitting = [choice for choice in choices if _fits(choice)]
    if not fitting:
        return _refuse(question, gpus, choices)
    fastest = max(choice.tokens for choice in fitting)
    near = [choice for choice in fitting if choice.tokens >= NEAR * fastest]
    return min(near, key=lambda choice: choice.simplicity)


def timed(question: Question, layout: Layout) -> Choice:
    """A layout's memory and time."""
    shape, cluster = question.shape, question.cluster
    computing = computing_seconds(shape, layout, cluster, question.length, question.efficiency)
    job = Job(shape.parameters, shape.layers, layout, cluster, question.constants)
    held = ledger(shape, layout, question.length, on_cpu=cluster.gpu.name == "cpu")
    return Choice(question, layout, held, job.step(computing))


def layouts(question: Question, gpus: int) -> Iterator[Layout]:
    """Every layout worth trying."""
    for tensor, sequence in _splits(question, gpus):
        replicas = gpus // (tensor * sequence)
        share = -(-question.sequences(gpus) // replicas)
        if replicas > question.sequences(gpus):
            continue
        for zero, group in _shardings(question.cluster, gpus // tensor, tensor):
            for micro in _micro_batches(share):
                for recompute in RECOMPUTE:
                    base = Layout(
                        gpus=gpus,
                        zero=zero,
                        shard_group=group,
                        micro_sequences=micro,
                        accumulation=-(-share // micro),
                        tensor=tensor,
                        sequence=sequence,
                        recompute=recompute,
                    )
                    yield base
                    if zero and question.cluster.host_memory:
                        yield replace(base, offload=True)


def _splits(question: Question, gpus: int) -> Iterator[tuple[int, int]]:
    shape, cluster = question.shape, question.cluster
    for tensor in SPLITS:
        if tensor > cluster.gpus_per_node:
            continue
        for sequence in SPLITS:
            both = tensor * sequence
            if gpus % both or shape.kv_heads % both or shape.mlp % tensor:
                continue
            if both > cluster.gpus_per_node:
                continue
            if question.length % sequence == 0:
                yield tensor, sequence


def _shardings(cluster: Cluster, ranks: int, tensor: int) -> Iterator[tuple[int, int]]:
    """(ZeRO stage, ranks per copy): stage 1 over all ranks or inside each node (InternEvo's
    way to scale), 2 and 3 over all.
    """
    yield 0, 1
    if ranks == 1:
        yield 1, 1  # shards nothing, but its optimiser may be offloaded
        return
    node = cluster.gpus_per_node // tensor
    if 1 < node < ranks and ranks % node == 0:
        yield 1, node
    for zero in (1, 2, 3):
        yield zero, ranks


def _micro_batches(share: int) -> Iterator[int]:
    micro = 1
    while micro <= share:
        yield micro
        micro *= 2


def _fits(choice: Choice) -> bool:
    cluster = choice.question.cluster
    on_host = choice.ledger.host * min(cluster.gpus_per_node, choice.layout.gpus)
    return choice.ledger.total <= cluster.gpu.memory and on_host <= cluster.host_memory


def _refuse(question: Question, gpus: int, choices: list[Choice]) -> Refusal:
    least = min(choices, key=lambda choice: choice.ledger.total)
    held, room = least.ledger, question.cluster.gpu.memory
    if held.total <= room:
        reason = (
            f"{question.shape.name} fits {gpus} x {question.cluster.gpu.name} only with more "
            f"host memory than {question.cluster.host_memory / 2**30:.0f} GiB per node"
        )
    else:
        reason = (
            f"{question.shape.name} on {gpus} x {question.cluster.gpu.name} needs at least "
            f"{held.total / 2**30:.1f} GiB per GPU ({_largest(held)}), "
            f"and {room / 2**30:.1f} GiB are there"
        )
    return Refusal(gpus, reason, list(_remedies(question, gpus)))


def _largest(held: Ledger) -> str:
    parts = {
        "parameters": held.parameters,
        "gradients": held.gradients,
        "optimiser state": held.optimiser,
        "activations": held.activations,
        "logits": held.logits,
        "buffers": held.buffers,
    }
    name = max(parts, key=lambda part: parts[part])
    return f"most of it {name}, {parts[name] / 2**30:.1f} GiB"


def _larger_batches(question: Question, gpus: int) -> Iterator[str]:
    """The smallest batch that gives every GPU something to do, and fits."""
    parts = {gpus // (tensor * sequence) for tensor, sequence in _splits(question, gpus)}
    for replicas in sorted(parts):
        asked = replace(question, batch=replicas)
        if any(_fits(timed(asked, layout)) for layout in layouts(asked, gpus)):
            yield f"--global-batch {replicas}"
            return


def _remedies(question: Question, gpus: int) -> Iterator[str]:
    def possible(asked: Question, count: int) -> bool:
        return any(_fits(timed(asked, layout)) for layout in layouts(asked, count))

    for factor in (2, 4, 8, 16, 32, 64):
        if possible(question, gpus * factor):
            yield f"--gpus {gpus * factor}"
            break
    length = question.length // 2
    while length >= 512:
        if possible(replace(question, length=length), gpus):
            yield f"--sequence-length {length}"
            break
        length //= 2
    for gpu in sorted(usual_gpus(), key=lambda gpu: gpu.memory):
        larger = replace(question, cluster=replace(question.cluster, gpu=gpu))
        if gpu.memory > question.cluster.gpu.memory and possible(larger, gpus):
            yield f"--hardware {gpu.name}"
            break
