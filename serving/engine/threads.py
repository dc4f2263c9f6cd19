"""Keeps the loading thread's idle workers out of the engine's way.

libgomp, torch's OpenMP on Linux, keeps a team of workers for every thread that has run a
parallel operation. Workers spin for the next operation only while all teams together have no
more threads than the machine has processors; else they sleep at once, and every operation
waits until they are woken: 91 instead of 44 microseconds for a 4-bit product of 1536 x 1024 on
two cores. The thread that loads a model leaves such a team behind.
"""

import ctypes
from pathlib import Path

import torch

_HARD = 2
"""``omp_pause_hard`` of OpenMP 5.0, section 3.2.43."""


def release_team() -> bool:
    """End the calling thread's idle workers; its next parallel operation starts new ones.

    Returns:
        Whether there is a libgomp of torch's and it did so.
    """
    for path in (Path(torch.__file__).parent / "lib").glob("libgomp*"):
        library = ctypes.CDLL(str(path))  # the one that is loaded
        if hasattr(library, "omp_pause_resource_all"):
            return bool(library.omp_pause_resource_all(_HARD) == 0)
    return False
