"""How a model is laid over GPUs: what is sharded, what is recomputed, how a step is cut."""

import math
from dataclasses import dataclass
from typing import Literal

Recompute = Literal["none", "selective", "full"]
RECOMPUTE: tuple[Recompute, ...] = ("none", "selective", "full")


@dataclass(frozen=True)
class Layout:
    """One way to train one model on ``gpus`` GPUs."""

    gpus: int
    zero: int
    """ZeRO stage (arXiv:1910.02054): 0 replicates, 1 shards optimiser state, 2 gradients
    too, 3 parameters too (as FSDP does)."""
    shard_group: int
    """Data-parallel ranks that share one copy of what is sharded."""
    micro_sequences: int
    """Sequences of one forward pass of one model replica."""
    accumulation: int
    """Forward passes per step."""
    tensor: int = 1
    """Ranks that split every matrix."""
    sequence: int = 1
    """Ranks that split every sequence (Ulysses, arXiv:2309.14509)."""
    recompute: Recompute = "none"
    offload: bool = False
    """Optimiser state and its step in the host's memory."""
    fp32_sums: bool = True
    """As the training loop does it: gradients are summed in fp32 over passes, and those of
    DeepSpeed's ZeRO 1 and 2 are reduced when the backward pass is over."""

    @property
    def replicas(self) -> int:
        """Ranks that see different samples."""
        return self.gpus // (self.tensor * self.sequence)

    @property
    def data_ranks(self) -> int:
        """Ranks that reduce gradients with each other: replicas and sequence ranks."""
        return self.gpus // self.tensor

    @property
    def gradient_bytes(self) -> int:
        """Bytes of one gradient on its way between ranks.

        fp32 where it is replicated (PyTorch's DDP reduces in the dtype of the weights, which
        autocast leaves in fp32) and, in the training loop, where it is sharded in groups.
        """
        return 4 if self.zero == 0 or self.loop_groups else 2

    @property
    def loop_groups(self) -> bool:
        """Whether the training loop shards in groups: inside them gradients are scattered, then
        the parts are summed across.
        """
        return self.fp32_sums and self.zero == 1 and self.shard_group < self.data_ranks

    @property
    def overlapped(self) -> bool:
        """Whether gradients are reduced while the backward pass goes on."""
        return not self.fp32_sums or self.zero in (0, 3) or self.loop_groups

    def micro_tokens(self, length: int) -> float:
        """Tokens per GPU of one forward pass, for sequences of ``length`` tokens."""
        return self.micro_sequences * length / (self.tensor * self.sequence)

    def step_tokens(self, length: int) -> float:
        """Tokens per GPU of one step."""
        return self.micro_tokens(length) * self.accumulation


def nodes_of(ranks: int, stride: int, gpus_per_node: int) -> int:
    """Nodes that a group of ``ranks`` touches when its members lie ``stride`` GPUs apart."""
    return max(1, math.ceil(ranks * stride / gpus_per_node))
