"""Next-token cross entropy that never holds all logits at once.

The logits of a large batch are by far its largest tensor (rows x vocabulary in fp32).
Here they are made in chunks, and each chunk's gradient is taken at once, in the forward
pass: with p = softmax(h W^T), d loss / d logits = p - onehot(label), so that
d loss / d h = (p - onehot) W and d loss / d W = (p - onehot)^T h. The same idea as the
chunked losses of Liger Kernel (arXiv:2410.10989).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

IGNORE = -100
"""Label of a position that carries no loss."""
_CHUNK_ROWS = 512
_TILE_ELEMENTS = 1 << 20
"""Logits that are worked on at a time in fp32 on a CPU: 4 MiB stays near it. A quarter of that
is faster still on a quiet machine; but every operator waits for all threads, so on a busy one
four times as many operators cost more than they save."""


def _softmax_gradient(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Summed loss of a chunk; ``logits`` become their gradient. In torch's plain operators.

    Args:
        logits: (rows, vocabulary) in low precision, changed in place.
        target: (rows, 1) labels.
    """
    high = logits.float()
    high -= high.amax(dim=1, keepdim=True)
    picked = high.gather(1, target).sum()
    normaliser = high.exp_().sum(dim=1, keepdim=True)
    high /= normaliser
    high.scatter_add_(1, target, high.new_full(target.shape, -1.0))
    logits.copy_(high)
    return normaliser.log().sum() - picked


def _by_tiles(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """``_softmax_gradient`` over runs of rows that a CPU's cache holds; on GPUs over all."""
    rows = max(1, _TILE_ELEMENTS // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    total = torch.zeros((), dtype=torch.float32, device=logits.device)
    for part, labels in zip(logits.split(rows), target.split(rows), strict=True):
        total += _softmax_gradient(part, labels)
    return total


@lru_cache
def _fused() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The same in few passes over the logits."""

    def softmax_gradient(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        high = logits.float()
        top = high.amax(dim=1, keepdim=True)
        normaliser = (high - top).exp().sum(dim=1, keepdim=True)
        picked = high.gather(1, target) - top
        here = torch.arange(logits.shape[1], device=logits.device)[None] == target
        logits.copy_((high - top).exp() / normaliser - here.float())
        return (normaliser.log() - picked).sum()

    return torch.compile(softmax_gradient, dynamic=True)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        labels: torch.Tensor,
        compiled: bool,
    ) -> torch.Tensor:
        wants_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        take = _fused() if compiled else _by_tiles
        grad_hidden = torch.empty_like(hidden)
        # Transposed: the product of this shape takes half the time on CPUs.
        grad_weight = torch.zeros(weight.shape[::-1], dtype=torch.float32, device=weight.device)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        # The same buffer for every chunk: a fresh one of this size costs a page fault per
        # 4 KiB, more time than the arithmetic on it.
        shape = (min(_CHUNK_ROWS, len(labels)), len(weight))
        buffer = torch.empty(shape, dtype=hidden.dtype, device=hidden.device)
        for start in range(0, len(labels), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            target = labels[rows, None]
            logits = buffer[: len(target)]
            torch.mm(hidden[rows], weight.t(), out=logits)
            total += take(logits, target)
            if not wants_grad:
                continue
            torch.mm(logits, weight, out=grad_hidden[rows])
            grad_weight += hidden[rows].t() @ logits
        if wants_grad:
            ctx.save_for_backward(grad_hidden, grad_weight.to(weight.dtype).t().contiguous())
        return total

    @staticmethod
    def backward(
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        (scale,) = grad_outputs
        return grad_hidden * scale, grad_weight * scale, None, None


def linear_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, compiled: bool = False
) -> torch.Tensor:
    """Sum over the positions with a label of ``-log softmax(hidden @ weight.T)[label]``.

    Args:
        hidden: (positions, width).
        weight: (vocabulary, width), the output embedding.
        labels: (positions,) int64; ``IGNORE`` where there is no loss.
        compiled: take the softmax and its gradient by one fused kernel.

    Returns:
        fp32 scalar in nats, not averaged: the caller divides by the global count.
    """
    kept = (labels != IGNORE).nonzero().squeeze(1)
    if len(kept) < len(labels):
        hidden, labels = hidden[kept], labels[kept]
    return _LinearCrossEntropy.apply(hidden, weight, labels, compiled)
