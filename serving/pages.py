"""Memory in large pages, where torch computes on a CPU."""

import os

VARIABLE = "THP_MEM_ALLOC_ENABLE"
"""Torch's own switch; 0 keeps small pages."""


def ask_for_large_pages() -> None:
    """Let torch take tensors of 2 MiB and more in large pages, if the environment says nothing.

    Weights and cache are read from end to end at every step: with 4 KiB pages the processor
    looks up thousands of addresses for that. Linux hands large pages out where
    ``/sys/kernel/mm/transparent_hugepage/enabled`` is ``madvise`` or ``always``. Torch reads the
    variable at a process' first tensor: a later call changes nothing but what child processes get.
    """
    os.environ.setdefault(VARIABLE, "1")
