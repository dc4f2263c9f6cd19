"""The memory ledger of one GPU: what training holds, part by part, in bytes.

States after ZeRO (arXiv:1910.02054, section 3): with bf16 weights and Adam, 2 bytes per
parameter of weights, 2 of gradients, 12 of optimiser state (fp32 weights and two moments).
Activations after Korthikanti et al. (arXiv:2205.05198), counted anew for a Llama layer with
flash attention as transformers runs it: norms work in fp32 and keep their input so.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from trainer.plan.communication import LOOP_BUCKET, REDUCE_BUCKET
from trainer.plan.layout import Layout
from trainer.plan.model import Shape

BF16, FP32 = 2, 4
OPTIMISER_BYTES = 12
"""fp32 weights and Adam's two moments, per parameter."""
LOSS_ROWS = 512
"""Tokens whose logits exist at a time (trainer/losses/cross_entropy.py)."""
LIVE_PARAMETERS = 1e9
"""That DeepSpeed's ZeRO 3 leaves gathered, at most (``stage3_max_live_parameters``)."""
FRAGMENTATION = 0.05
"""Of what comes and goes in a step, lost between the allocator's blocks: PyTorch's caching
allocator in steady steps of equal shape keeps within a few per cent."""


@dataclass(frozen=True)
class Ledger:
    """Bytes on one GPU, at the peak of a step."""

    parameters: float
    gradients: float
    optimiser: float
    activations: float
    logits: float
    buffers: float
    """Gradient buckets, what fp32 sums of gradients take more than bf16, gathered layers, the
    optimiser's temporary gradient."""
    fragmentation: float
    host: float
    """Bytes of the host's memory per GPU, when the optimiser is offloaded."""

    @property
    def states(self) -> float:
        """Parameters, gradients and optimiser state."""
        return self.parameters + self.gradients + self.optimiser

    @property
    def total(self) -> float:
        """All that lies in the GPU's own memory."""
        return sum(getattr(self, part.name) for part in fields(self) if part.name != "host")


def ledger(shape: Shape, layout: Layout, length: int, *, on_cpu: bool = False) -> Ledger:
    """What one GPU holds at the peak of a step on sequences of ``length`` tokens.

    Activations go as gradients come, so the highest of three moments counts: when the loss is
    taken, in the backward pass of the last layer, and when the gradients are complete.

    Args:
        on_cpu: the model trains on a CPU, whose memory has no allocator's blocks to lose and
            whose kernels work on small tiles of the logits, but copy gradients to add them up.
    """
    moments = (_at_loss, _in_last_layer, _at_end)
    found = [_ledger(shape, layout, length, on_cpu, moment) for moment in moments]
    return max(found, key=lambda book: book.total)


@dataclass(frozen=True)
class _Passing:
    """What comes and goes in a step, in bytes, at one moment of it."""

    activations: float
    logits: float
    buffers: float
    gradients: float
    """In low precision, of all parameters that this rank keeps gradients of."""


_Moment = Callable[[Shape, Layout, int, bool], _Passing]


def _ledger(shape: Shape, layout: Layout, length: int, on_cpu: bool, moment: _Moment) -> Ledger:
    own = shape.parameters / layout.tensor
    group = layout.shard_group
    state = own * OPTIMISER_BYTES / (group if layout.zero else 1)
    now = moment(shape, layout, length, on_cpu)
    return Ledger(
        parameters=own * BF16 / (group if layout.zero == 3 else 1),
        gradients=now.gradients,
        optimiser=0.0 if layout.offload else state,
        activations=now.activations,
        logits=now.logits,
        buffers=now.buffers,
        fragmentation=0.0
        if on_cpu
        else FRAGMENTATION * (now.activations + now.logits + now.buffers),
        host=state if layout.offload else 0.0,
    )


def _at_loss(shape: Shape, layout: Layout, length: int, on_cpu: bool) -> _Passing:
    """All activations are kept, no gradient of this pass is there but the head's."""
    return _Passing(
        activations=kept_bytes(shape, layout, length),
        logits=_logits(shape, layout, length, on_cpu),
        buffers=_sums(shape, layout)
        + _gathered(shape, layout)
        + _foreign(shape, layout)
        + (_received(shape, layout) if on_cpu else 0.0),
        gradients=_gradients(shape, layout) if _standing(layout) else 0.0,
    )


def _in_last_layer(shape: Shape, layout: Layout, length: int, on_cpu: bool) -> _Passing:
    """The head's gradient is there; a layer, made again where that is so, is worked on."""
    tokens = layout.micro_sequences * length / layout.sequence
    now = _at_loss(shape, layout, length, on_cpu)
    again = 0.0 if layout.recompute == "none" else tokens * _layer_bytes(shape, layout.tensor)
    work = tokens * 2 * BF16 * (shape.mlp / layout.tensor + shape.hidden)
    return replace(
        now,
        activations=now.activations + again + work,
        logits=BF16 * shape.vocab * shape.hidden / layout.tensor,
        buffers=now.buffers + _bucket(shape, layout),
    )


def _at_end(shape: Shape, layout: Layout, length: int, on_cpu: bool) -> _Passing:
    """No activation is left, all gradients are."""
    own = shape.parameters / layout.tensor
    now = _at_loss(shape, layout, length, on_cpu)
    sums = own * (FP32 - BF16) if layout.fp32_sums and layout.gpus == 1 else now.buffers
    return _Passing(0.0, 0.0, sums + _bucket(shape, layout), _gradients(shape, layout))


def _standing(layout: Layout) -> bool:
    """Whether gradients stand from one pass to the next.

    A single pass needs no sums: one process, and ZeRO 2's buckets, are filled as gradients come.
    """
    single_pass = layout.accumulation == 1 and (layout.gpus == 1 or layout.zero == 2)
    return not (layout.fp32_sums and single_pass)


def _gradients(shape: Shape, layout: Layout) -> float:
    own = shape.parameters / layout.tensor
    return own * BF16 / (layout.shard_group if layout.zero >= 2 else 1)


def _sums(shape: Shape, layout: Layout) -> float:
    """What fp32 sums of gradients take more than bf16 ones, where they stand."""
    if not layout.fp32_sums or not _standing(layout):
        return 0.0
    return _gradients(shape, layout) / BF16 * (FP32 - BF16)


def kept_bytes(shape: Shape, layout: Layout, length: int) -> float:
    """Bytes that autograd keeps for the backward pass, without the logits'."""
    tokens = layout.micro_sequences * length / layout.sequence
    per_layer = {
        "none": _layer_bytes(shape, layout.tensor),
        "selective": _matmul_bytes(shape, layout.tensor),
        "full": float(BF16 * shape.hidden),
    }[layout.recompute]
    ends = _NORM * shape.hidden + BF16 * shape.hidden  # the last norm, the embedding
    return tokens * (per_layer * shape.layers + ends)


_NORM = FP32 + BF16
"""Bytes per element that a norm keeps: its input in fp32, its normalised value in bf16."""


def _layer_bytes(shape: Shape, tensor: int) -> float:
    """Bytes per token that one layer keeps when nothing is recomputed.

    Two norms and their outputs; query, keys, values and the result of attention, with its
    row sums; the gate before and after SiLU, the up projection, and their product.
    """
    norms = 2 * (_NORM + BF16) * shape.hidden
    attention = BF16 * (2 * shape.q_width + 2 * shape.kv_width) + FP32 * shape.heads
    return norms + (attention + 4 * BF16 * shape.mlp) / tensor


def _matmul_bytes(shape: Shape, tensor: int) -> float:
    """Bytes per token that one layer keeps under selective recompute: what matrix products
    and attention gave; norms, SiLU and products are made again.
    """
    split = 2 * shape.q_width + 2 * shape.kv_width + 2 * shape.mlp
    return BF16 * (2 * shape.hidden + split / tensor)


def _logits(shape: Shape, layout: Layout, length: int, on_cpu: bool) -> float:
    """The chunked loss: logits of a chunk, the gradients of head and hidden states.

    On a GPU a chunk's logits are there in fp32 too. On a CPU they are worked on in tiles, and the
    head's gradient of a chunk is turned to fp32 before it is added to the sum.
    """
    tokens = layout.micro_sequences * length / layout.sequence
    chunk = min(tokens, LOSS_ROWS) * shape.vocab * (BF16 if on_cpu else BF16 + FP32)
    head = shape.vocab * shape.hidden * (FP32 + BF16 + (FP32 if on_cpu else 0))
    return chunk + head + tokens * shape.hidden * BF16


def _gathered(shape: Shape, layout: Layout) -> float:
    """ZeRO 3's parameters that are whole for a time."""
    if layout.zero != 3:
        return 0.0
    own = shape.parameters / layout.tensor
    if not layout.fp32_sums:  # two layers with their gradients
        return 2 * 2 * BF16 * shape.layer_parameters / layout.tensor
    return BF16 * (min(own, LIVE_PARAMETERS) + min(own, REDUCE_BUCKET / BF16))


def _bucket(shape: Shape, layout: Layout) -> float:
    """What the training loop's ZeRO 2 fills while gradients come: two messages."""
    if layout.zero != 2 or not layout.fp32_sums:
        return 0.0
    return min(2 * REDUCE_BUCKET, BF16 * shape.parameters / layout.tensor)


def _received(shape: Shape, layout: Layout) -> float:
    """Into which ranks of a group on CPUs receive the gradients of a bucket from each other."""
    if not layout.loop_groups or layout.shard_group == 1:
        return 0.0
    return min(LOOP_BUCKET, FP32 * shape.parameters / layout.tensor)


def _foreign(shape: Shape, layout: Layout) -> float:
    """Of other systems: gradient messages, and an fp32 copy of the optimiser's part of them."""
    if layout.fp32_sums or layout.gpus == 1 or layout.zero == 3:
        return 0.0
    own = shape.parameters / layout.tensor
    copied = layout.zero and not layout.offload
    return min(2 * REDUCE_BUCKET, own * BF16) + (own / layout.shard_group * FP32 if copied else 0)
