"""Processes that this one started, Ray's among them."""

import contextlib

import psutil


def pids_of(word: str) -> list[int]:
    """Children whose command line holds ``word``.

    Others may end, or be dead and not yet buried, while they are asked: they are left out.
    """
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if word in "".join(process.cmdline()):
                found.append(process.pid)
    return found
