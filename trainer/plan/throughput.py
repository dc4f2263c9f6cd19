"""Time of one training step, and what follows from it: tokens/s, MFU, efficiency."""

from dataclasses import dataclass

from trainer.plan import communication as comm
from trainer.plan.communication import Constants, Group
from trainer.plan.hardware import Cluster
from trainer.plan.layout import Layout
from trainer.plan.model import Shape

PARAMETER_BYTES = 2
SYNC_MESSAGES_PER_LAYER = 9
"""Messages in which ZeRO-1 and -2 send updated parameters, per layer: its weight tensors
(four of attention, three of the MLP, two norms)."""
UPDATE_BYTES = 28
"""Bytes that Adam moves per parameter: three fp32 states in and out, gradient in, bf16 out."""
RECOMPUTE_COST = {"none": 1.0, "selective": 1.03, "full": 1.27}
"""Computing time over that without recompute: full recompute runs forward a second time, which
makes 4/3 by FLOPs. InternEvo's published runs on one node differ by 1.23 only: backward has the
larger part of what is bound by memory."""
FORWARD_SHARE = {name: 1 / 3 / cost for name, cost in RECOMPUTE_COST.items()}
"""Forward's part of the computing time."""
ATTENTION_COST = 2.0
"""Time of one of attention's FLOPs in those of a matrix product, causal attention counted as half
the square. llm-foundry's published 7B runs on one node from 512 to 65,536 tokens ask for 2.5 with
its kernels of 2023; FlashAttention-2 reaches 0.75 of a product's rate on A100 (arXiv:2307.08691)
and about half on H100 (arXiv:2407.08608)."""
NARROW = 380
"""Width at which kernels reach half their efficiency (see ``kernel_efficiency``)."""
HOST_UPDATE_BANDWIDTH = 100e9
"""Bytes/s of a node's main memory in a fused Adam on its CPUs (ZeRO-Offload, 2101.06840)."""


@dataclass(frozen=True)
class Step:
    """Seconds of one step by part; ``total`` is what a clock shows."""

    computing: float
    """Kernels of forward, backward and recompute alone."""
    exposed: float
    """Communication that computing does not hide."""
    updating: float
    """The optimiser's step."""
    waiting: float
    """For the slowest rank."""

    @property
    def total(self) -> float:
        """Seconds of the whole step."""
        return self.computing + self.exposed + self.updating + self.waiting


def kernel_efficiency(shape: Shape, cluster: Cluster) -> float:
    """Share of the peak that kernels reach alone on this model.

    ``efficiency * hidden / (hidden + 380)``: narrow layers fill the tensor cores less. The
    form follows llm-foundry's published A100 runs of 125M to 7B (hidden 768 to 4096), where
    43 to 64 % of the peak is reached on one node.
    """
    return cluster.gpu.efficiency * shape.hidden / (shape.hidden + NARROW)


def work_per_token(parameters: float, layers: int, width: int, length: int) -> float:
    """FLOPs of one token, forward and backward, in those of matrix products.

    Args:
        parameters: that multiply.
        width: of all query heads together.
    """
    return 6.0 * parameters + ATTENTION_COST * 6.0 * layers * width * length


def computing_seconds(
    shape: Shape, layout: Layout, cluster: Cluster, length: int, efficiency: float | None = None
) -> float:
    """Seconds of kernels per step: FLOPs over what the GPU reaches, and tensor parallel's
    and sequence parallel's own communication, which nothing hides.
    """
    share = efficiency or kernel_efficiency(shape, cluster)
    work = work_per_token(shape.multiplying_parameters, shape.layers, shape.q_width, length)
    work *= layout.step_tokens(length)
    kernels = work / (cluster.gpu.peak_flops * share) * RECOMPUTE_COST[layout.recompute]
    return kernels + _inside_layers(shape, layout, cluster, length)


def _inside_layers(shape: Shape, layout: Layout, cluster: Cluster, length: int) -> float:
    constants = Constants()
    rank_tokens = layout.micro_sequences * length / layout.sequence
    activation = rank_tokens * shape.hidden * PARAMETER_BYTES
    passes = 6 if layout.recompute == "full" else 4
    seconds = 0.0
    if layout.tensor > 1:
        group = Group(layout.tensor)
        # Two all-reduces forward and two backward (Megatron-LM, arXiv:1909.08053).
        seconds += passes * 2 * comm.ring_pass(activation, group, cluster, constants)
    if layout.sequence > 1:
        group = Group(layout.sequence, layout.tensor)
        width = (2 * shape.q_width + 2 * shape.kv_width) / shape.hidden / layout.tensor
        # Query, key, value in and the result out, forward and backward (Ulysses).
        seconds += passes / 2 * comm.all_to_all(activation * width, group, cluster, constants)
    return seconds * shape.layers * layout.accumulation


@dataclass(frozen=True)
class Job:
    """A model laid out on a cluster; knows the time of its step.

    ZeRO-0 to -2 reduce gradients during the last micro-step's backward pass (ZeRO-2 during
    every one), the training loop's ZeRO-1 over all ranks and -2 after it; ZeRO-1 and -2 then
    send the updated parameters round. ZeRO-3 gathers parameters in forward and backward and
    scatters gradients, in every micro-step.
    """

    parameters: float
    layers: int
    layout: Layout
    cluster: Cluster
    constants: Constants

    def step(self, computing: float) -> Step:
        """The step when kernels alone take ``computing`` seconds of it."""
        forward = computing * FORWARD_SHARE[self.layout.recompute]
        backward = computing - forward
        busy = self._gathering if self.layout.zero == 3 else self._replicated
        return Step(
            computing=computing,
            exposed=max(0.0, busy(forward, backward) - computing),  # less than nothing by rounding
            updating=self._update(),
            waiting=comm.straggling(computing, self.layout.gpus, self.constants),
        )

    @property
    def _size(self) -> float:
        """Bytes of one rank's parameters, were they not sharded; of its gradients too."""
        return self.parameters * PARAMETER_BYTES / self.layout.tensor

    @property
    def _data(self) -> Group:
        return Group(self.layout.data_ranks, self.layout.tensor)

    @property
    def _shards(self) -> Group:
        return Group(self.layout.shard_group, self.layout.tensor)

    def _gathering(self, forward: float, backward: float) -> float:
        steps = self.layout.accumulation
        gather = self._pass(self._shards, self.layers)
        ahead = comm.overlapped(forward / steps, gather, self.constants)
        back = comm.overlapped(backward / steps, 2 * gather, self.constants)
        return steps * (ahead + back)

    def _replicated(self, forward: float, backward: float) -> float:
        steps = self.layout.accumulation
        reducing = steps if self.layout.zero == 2 else 1
        each = backward / steps
        if self.layout.overlapped:
            both = comm.overlapped(each, self._reduction(), self.constants)
        else:
            both = each + self._reduction()
        return forward + each * (steps - reducing) + both * reducing + self._sync()

    def _pass(self, group: Group, messages: float) -> float:
        return comm.ring_pass(self._size, group, self.cluster, self.constants, messages)

    def _reduction(self) -> float:
        if self.layout.zero == 2:
            return self._pass(self._data, max(1.0, self._size / comm.REDUCE_BUCKET))
        size = self._size * self.layout.gradient_bytes / PARAMETER_BYTES
        if self.layout.loop_groups:
            return self._in_groups(size)
        bucket = comm.REDUCE_BUCKET if self.layout.zero else self._replica_bucket
        return comm.all_reduce(size, self._data, self.cluster, self.constants, bucket)

    @property
    def _replica_bucket(self) -> float:
        return comm.LOOP_BUCKET if self.layout.fp32_sums else comm.DDP_BUCKET

    def _in_groups(self, size: float) -> float:
        """Seconds to scatter gradients inside the groups and sum each rank's part across them."""
        layout, shards = self.layout, self._shards
        messages = max(1.0, size / comm.LOOP_BUCKET)
        across = Group(layout.data_ranks // shards.ranks, shards.ranks * layout.tensor)
        piece, bucket = size / shards.ranks, comm.LOOP_BUCKET / shards.ranks
        return comm.ring_pass(
            size, shards, self.cluster, self.constants, messages
        ) + comm.all_reduce(piece, across, self.cluster, self.constants, bucket)

    def _sync(self) -> float:
        """Seconds to send updated parameters from their owners to all; nothing hides it."""
        if self.layout.zero == 0:
            return 0.0
        return self._pass(self._shards, SYNC_MESSAGES_PER_LAYER * self.layers)

    def _update(self) -> float:
        shards = self.layout.shard_group if self.layout.zero else 1
        own = self.parameters / self.layout.tensor / shards
        if not self.layout.offload:
            return own * UPDATE_BYTES / self.cluster.gpu.memory_bandwidth
        carried = own * 2 * PARAMETER_BYTES / self.cluster.host_link
        users = min(self.layout.gpus, self.cluster.gpus_per_node)
        return carried + own * UPDATE_BYTES * users / HOST_UPDATE_BANDWIDTH
