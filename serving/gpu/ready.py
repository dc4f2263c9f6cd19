"""Whether the kernels of this folder run on a device."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

import torch

_interpreting = False


@cache
def has_triton() -> bool:
    """Whether Triton is installed (the extra ``gpu``)."""
    return find_spec("triton") is not None


def runs_kernels(device: torch.device) -> bool:
    """Whether kernels are used on a device; without, torch's own operations do the same."""
    return has_triton() and (device.type == "cuda" or (device.type == "cpu" and _interpreting))


@contextmanager
def interpreting() -> Iterator[None]:
    """What is opened inside the block uses kernels on a CPU too, by Triton's interpreter.

    For tests; slow. Raises:
        RuntimeError: ``TRITON_INTERPRET=1`` was not set before Triton was imported.
    """
    global _interpreting
    if not interpreted():
        raise RuntimeError("Triton's interpreter is off; set TRITON_INTERPRET=1 before the start")
    _interpreting = True
    try:
        yield
    finally:
        _interpreting = False


def interpreted() -> bool:
    """Whether Triton runs its kernels in Python instead of compiling them."""
    from triton import knobs

    return bool(knobs.runtime.interpret)


def multiprocessors(device: torch.device) -> int:
    """Processors that a launch is spread over; 1 on a CPU."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


def power_of_two(number: int) -> int:
    """The next power of two: what a kernel's tiles are rounded up to."""
    return 1 << (number - 1).bit_length()


def dot_type(dtype: torch.dtype) -> object:
    """Triton's type for the operands of products of a torch type."""
    from triton import language

    if dtype == torch.float32 or interpreted():
        return language.float32
    return language.bfloat16 if dtype == torch.bfloat16 else language.float16
