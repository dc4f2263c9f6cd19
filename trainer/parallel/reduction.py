"""Gradients summed over the ranks, bucket by bucket, while the last backward pass goes on."""

from collections.abc import Callable
from functools import partial

import torch

from trainer.parallel.beside import beside
from trainer.parallel.buckets import Bucket, FlatWeights


class Reduction:
    """Collects gradients as they come, and hands over each bucket when it is complete.

    Buckets are handed over in their own order, whatever the order in which gradients come, so
    that all ranks call the same collectives in the same order (as PyTorch's DDP does,
    arXiv:2006.15704, section 3.2.3). One that waits for a gradient that never comes keeps those
    behind it back until ``finish``.
    """

    def __init__(self, flat: FlatWeights, reduce: Callable[[Bucket], None]) -> None:
        """Reduce by ``reduce``, which sums a bucket's gradient in place and may block."""
        self._flat, self._reduce = flat, reduce
        self._beside = beside(flat.gradient.device)
        self._buckets_of: list[list[int]] = [[] for _ in flat.parameters]
        for place, bucket in enumerate(flat.buckets):
            for number in bucket.parameters:
                self._buckets_of[number].append(place)
        self._missing: list[int] = []
        self._next = 0
        self.begun = False
        """Whether the last pass of a step was taken, and ``finish`` was not called since."""

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Add a pass's gradients to the buffer as they come; in the last, reduce them too.

        Raises:
            RuntimeError: the last pass of this step was taken already.
        """
        if self.begun:
            raise RuntimeError("backward: after a step's last pass comes step or discard")
        if last:
            self._begin()
        hooks = [
            parameter.register_post_accumulate_grad_hook(partial(self._came, number))
            for number, parameter in enumerate(self._flat.parameters)
        ]
        try:
            loss.backward()
        finally:
            for hook in hooks:
                hook.remove()

    def finish(self) -> None:
        """Reduce what no pass has, and wait until the sums are there.

        Raises:
            RuntimeError: a collective failed.
        """
        if not self.begun:
            self._begin()
        while self._next < len(self._missing):
            self._hand_over()
        self.begun = False
        self._beside.wait()

    def _begin(self) -> None:
        self._missing = [len(bucket.parameters) for bucket in self._flat.buckets]
        self._next, self.begun = 0, True

    def _came(self, number: int, _: torch.Tensor) -> None:
        self._flat.collect_gradient(number)
        if not self.begun:
            return
        for place in self._buckets_of[number]:
            self._missing[place] -= 1
        while self._next < len(self._missing) and not self._missing[self._next]:
            self._hand_over()

    def _hand_over(self) -> None:
        bucket = self._flat.buckets[self._next]
        self._next += 1
        self._beside.submit(partial(self._reduce, bucket))
