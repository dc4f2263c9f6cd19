"""Memory for optimiser state that a disk can take as it is."""

from collections.abc import Sequence
from mmap import PAGESIZE

import torch

_SPARE = PAGESIZE // 4


def aligned_empty(shape: Sequence[int], device: torch.device) -> torch.Tensor:
    """Uninitialised fp32 memory; on a CPU it begins with a page.

    Direct writes (``O_DIRECT``, open(2)) take whole blocks only; torch aligns to 64 bytes.
    """
    size = torch.Size(shape)
    if device.type != "cpu":
        return torch.empty(size, dtype=torch.float32, device=device)
    raw = torch.empty(size.numel() + _SPARE, dtype=torch.float32)
    first = -raw.data_ptr() % PAGESIZE // 4
    return raw[first : first + size.numel()].view(size)
