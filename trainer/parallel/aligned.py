"""Memory for optimiser state that a step passes through fast and a disk can take as it is."""

import ctypes
import mmap
from collections.abc import Sequence

import torch

_PAGE = mmap.PAGESIZE // 4
_HUGE_PAGE = (2 << 20) // 4
"""Elements: x86's and Arm's usual huge page."""


def aligned_empty(shapes: Sequence[torch.Size], device: torch.device) -> list[torch.Tensor]:
    """Uninitialised fp32 tensors in one block; on a CPU each begins with a page.

    Direct writes (``O_DIRECT``, open(2)) take whole blocks only, and torch aligns to 64 bytes.
    A large block asks for huge pages: AdamW, a checksum and a direct write touch all of it, and
    take two thirds of the time where the processor translates fewer addresses.
    """
    if device.type != "cpu":
        return [torch.empty(shape, dtype=torch.float32, device=device) for shape in shapes]
    rounded = [-(-shape.numel() // _PAGE) * _PAGE for shape in shapes]
    block = _block(sum(rounded))
    cut = torch.split(block, rounded)
    return [part[: s.numel()].view(s) for part, s in zip(cut, shapes, strict=True)]


def _block(size: int) -> torch.Tensor:
    grain = _HUGE_PAGE if size >= 8 * _HUGE_PAGE else _PAGE
    raw = torch.empty(size + grain, dtype=torch.float32)
    first = -raw.data_ptr() % (4 * grain) // 4
    block = raw[first : first + size]
    if grain == _HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        address, length = ctypes.c_void_p(block.data_ptr()), ctypes.c_size_t(4 * size)
        ctypes.CDLL(None).madvise(address, length, mmap.MADV_HUGEPAGE)  # it may say no
    return block
