"""Next-token cross entropy that never holds all logits at once.

The logits of a large batch are by far its largest tensor (rows x vocabulary in fp32).
Here they are made in chunks, and each chunk's gradient is taken at once, in the forward
pass: with p = softmax(h W^T), d loss / d logits = p - onehot(label), so that
d loss / d h = (p - onehot) W and d loss / d W = (p - onehot)^T h. The same idea as the
chunked losses of Liger Kernel (arXiv:2410.10989).
"""

from typing import Any

import torch

IGNORE = -100
"""Label of a position that carries no loss."""
_CHUNK_ROWS = 512


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        wants_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        # The same two buffers for every chunk: fresh ones of this size cost a page fault
        # per 4 KiB, more time than the arithmetic on them.
        shape = (min(_CHUNK_ROWS, len(labels)), len(weight))
        low = torch.empty(shape, dtype=hidden.dtype, device=hidden.device)
        high = torch.empty(shape, dtype=torch.float32, device=hidden.device)
        for start in range(0, len(labels), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            target = labels[rows, None]
            chunk_low, chunk = low[: len(target)], high[: len(target)]
            torch.mm(hidden[rows], weight.t(), out=chunk_low)
            chunk.copy_(chunk_low)
            chunk -= chunk.amax(dim=1, keepdim=True)
            total -= chunk.gather(1, target).sum()
            normaliser = chunk.exp_().sum(dim=1, keepdim=True)
            total += normaliser.log().sum()
            if not wants_grad:
                continue
            chunk /= normaliser
            chunk.scatter_add_(1, target, chunk.new_full(target.shape, -1.0))
            chunk_low.copy_(chunk)
            torch.mm(chunk_low, weight, out=grad_hidden[rows])
            grad_weight += chunk_low.t() @ hidden[rows]
        if wants_grad:
            ctx.save_for_backward(grad_hidden, grad_weight.to(weight.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        (scale,) = grad_outputs
        return grad_hidden * scale, grad_weight * scale, None


def linear_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Sum over the positions with a label of ``-log softmax(hidden @ weight.T)[label]``.

    Args:
        hidden: (positions, width).
        weight: (vocabulary, width), the output embedding.
        labels: (positions,) int64; ``IGNORE`` where there is no loss.

    Returns:
        fp32 scalar in nats, not averaged: the caller divides by the global count.
    """
    kept = (labels != IGNORE).nonzero().squeeze(1)
    if len(kept) < len(labels):
        hidden, labels = hidden[kept], labels[kept]
    return _LinearCrossEntropy.apply(hidden, weight, labels)
