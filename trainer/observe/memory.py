"""Memory that training holds at its peak."""

import resource
import sys

import torch


class PeakMemory:
    """Peak memory of this process since the model was made, without what was there before."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Start counting; call it when the model, and nothing else of the training, is there."""
        self._device = next(model.parameters()).device
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        self._before = 0 if self._device.type == "cuda" else max(0, _resident() - weights)

    def training_bytes(self) -> int:
        """Peak bytes of weights, states and activations: what the plan's ledger counts."""
        return max(0, self.process_bytes() - self._before)

    def process_bytes(self) -> int:
        """Peak bytes on the GPU (torch's allocator), or of the whole process on a CPU."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak << 10  # KiB elsewhere


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
