"""All trained weights in one buffer, so that one collective moves them all."""

import torch
from torch import nn

from trainer.parallel.fragments import Fragment


class FlatWeights:
    """A flat low-precision buffer of which every parameter is a view, and its gradient."""

    def __init__(self, module: nn.Module, shards: int) -> None:
        """Move the parameters into the buffer, those with weight decay (matrices) first."""
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        named.sort(key=lambda item: item[1].ndim <= 1)  # stable: the order stays otherwise
        self._parameters = [p for _, p in named]
        self.shapes = {name: tuple(p.shape) for name, p in named}
        self._places: dict[str, tuple[int, int]] = {}
        size = 0
        for name, parameter in named:
            self._places[name] = (size, size + parameter.numel())
            size += parameter.numel()
        self.decayed = sum(p.numel() for p in self._parameters if p.ndim > 1)
        """Elements at the front that have weight decay."""
        self.shard_size = -(-size // shards)
        low = self._parameters[0]
        self.values = torch.zeros(self.shard_size * shards, dtype=low.dtype, device=low.device)
        """(elements,) in low precision, padded with zeros to equal shards."""
        self.gradient = torch.zeros_like(self.values, dtype=torch.float32)
        """(elements,) fp32, summed over the micro-batches."""
        for parameter, (first, last) in zip(self._parameters, self._places.values(), strict=True):
            self.values[first:last] = parameter.detach().view(-1)
            parameter.data = self.values[first:last].view(parameter.shape)

    def shard(self, place: int) -> torch.Tensor:
        """One of the equal parts, a view."""
        return self.values[place * self.shard_size : (place + 1) * self.shard_size]

    def collect_gradients(self) -> None:
        """Add every parameter's gradient to the buffer and clear it."""
        for parameter, (first, last) in zip(self._parameters, self._places.values(), strict=True):
            if parameter.grad is not None:
                self.gradient[first:last] += parameter.grad.view(-1)
                parameter.grad = None

    def fragments(self, kind: str, values: torch.Tensor, first: int) -> list[Fragment]:
        """A run of the buffer, from element ``first`` on, as fragments of parameters."""
        found, last = [], first + len(values)
        for name, (begin, end) in self._places.items():
            low, high = max(first, begin), min(last, end)
            if high > low:
                run = values[low - first : high - first]
                found.append(Fragment(kind, name, low - begin, run))
        return found
