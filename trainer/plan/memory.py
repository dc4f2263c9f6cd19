"""The memory ledger of one GPU: what training holds, part by part, in bytes.

States after ZeRO (arXiv:1910.02054, section 3): with bf16 weights and Adam, 2 bytes per
parameter of weights, 2 of gradients, 12 of optimiser state (fp32 weights and two moments).
Activations after Korthikanti et al. (arXiv:2205.05198), counted anew for a Llama layer with
flash attention as transformers runs it: norms work in fp32 and keep their input so.
"""

from dataclasses import dataclass, fields

from trainer.plan.communication import REDUCE_BUCKET
from trainer.plan.layout import Layout
from trainer.plan.model import Shape

BF16, FP32 = 2, 4
OPTIMISER_BYTES = 12
"""fp32 weights and Adam's two moments, per parameter."""
LOSS_ROWS = 512
"""Tokens whose logits exist at a time (trainer/losses/cross_entropy.py)."""
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


def ledger(shape: Shape, layout: Layout, length: int) -> Ledger:
    """What one GPU holds at the peak of a step on sequences of ``length`` tokens."""
    own = shape.parameters / layout.tensor
    group = layout.shard_group
    state = own * OPTIMISER_BYTES / (group if layout.zero else 1)
    logits = _logits(shape, layout, length)
    # A layer is computed again when the logits are gone: the larger of the two counts.
    again = max(0.0, _again_bytes(shape, layout, length) - logits)
    activations = _kept_bytes(shape, layout, length) + again
    buffers = _buffers(shape, layout, logits)
    return Ledger(
        parameters=own * BF16 / (group if layout.zero == 3 else 1),
        gradients=own * BF16 / (group if layout.zero >= 2 else 1),
        optimiser=0.0 if layout.offload else state,
        activations=activations,
        logits=logits,
        buffers=buffers,
        fragmentation=FRAGMENTATION * (activations + logits + buffers),
        host=state if layout.offload else 0.0,
    )


def activation_bytes(shape: Shape, layout: Layout, length: int) -> float:
    """Bytes kept for the backward pass, and one layer's more while it is recomputed."""
    return _kept_bytes(shape, layout, length) + _again_bytes(shape, layout, length)


def _kept_bytes(shape: Shape, layout: Layout, length: int) -> float:
    tokens = layout.micro_sequences * length / layout.sequence
    per_layer = {
        "none": _layer_bytes(shape, layout.tensor),
        "selective": _matmul_bytes(shape, layout.tensor),
        "full": float(BF16 * shape.hidden),
    }[layout.recompute]
    ends = _NORM * shape.hidden + BF16 * shape.hidden  # the last norm, the embedding
    return tokens * (per_layer * shape.layers + ends)


def _again_bytes(shape: Shape, layout: Layout, length: int) -> float:
    tokens = layout.micro_sequences * length / layout.sequence
    return 0.0 if layout.recompute == "none" else tokens * _layer_bytes(shape, layout.tensor)


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


def _logits(shape: Shape, layout: Layout, length: int) -> float:
    """The chunked loss: logits of a chunk twice, the gradients of head and hidden states."""
    tokens = layout.micro_sequences * length / layout.sequence
    chunk = min(tokens, LOSS_ROWS) * shape.vocab * (BF16 + FP32)
    head = shape.vocab * shape.hidden * (FP32 + BF16)
    return chunk + head + tokens * shape.hidden * BF16


def _buffers(shape: Shape, layout: Layout, logits: float) -> float:
    own = shape.parameters / layout.tensor
    if layout.gpus == 1:
        # In a single pass gradients become fp32 one by one, when activations are gone.
        several = layout.accumulation > 1
        return own * (FP32 - BF16) if layout.fp32_sums and several else 0.0
    bucket = min(2 * REDUCE_BUCKET, own * BF16)
    if not layout.fp32_sums:
        return (
            _gathered_layers(shape, layout) if layout.zero == 3 else bucket + _update(own, layout)
        )
    if layout.zero == 3:  # the embedding, too, is gathered with its gradient
        embedding = 2 * BF16 * shape.vocab * shape.hidden / layout.tensor
        sums = own * (FP32 - BF16) / layout.shard_group
        return _gathered_layers(shape, layout) + embedding + sums
    if layout.zero == 2:  # its buckets are filled when the logits are gone
        return max(0.0, bucket - logits)
    return own * (FP32 - BF16)  # reduced in place when the backward pass is over


def _gathered_layers(shape: Shape, layout: Layout) -> float:
    """Two of ZeRO 3's layers with their gradients."""
    return 2 * 2 * BF16 * shape.layer_parameters / layout.tensor


def _update(own: float, layout: Layout) -> float:
    """The optimiser's fp32 copy of its part of bf16 gradients."""
    copied = layout.zero and not layout.offload
    return own / layout.shard_group * FP32 if copied else 0.0
