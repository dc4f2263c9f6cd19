"""Writes a large file past the page cache, where the file system lets it.

A write through the page cache copies every byte with the processor that training needs; a
direct one (``O_DIRECT``, open(2)) is carried out by the disk. It takes aligned memory and whole
blocks: such are written from where they are, other bytes gather in one aligned buffer.
"""

import errno
import fcntl
import mmap
import os
from pathlib import Path
from types import TracebackType

import numpy as np

_BUFFER_BYTES = 8 << 20
_DIRECT = getattr(os, "O_DIRECT", 0)
"""Linux has it."""
_MOST_RUNS = 512
"""Of one writev(2), which takes 1,024."""


def _whole_pages(data: memoryview) -> bool:
    if len(data) % mmap.PAGESIZE or not data:
        return False
    return np.frombuffer(data, np.uint8).ctypes.data % mmap.PAGESIZE == 0


class DirectFile:
    """A new file to append to, once; whole and on the disk after the ``with`` block."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            self._file = os.open(path, flags | _DIRECT, 0o666)
        except OSError as error:  # tmpfs and some network file systems have no direct writes
            if error.errno != errno.EINVAL:
                raise
            self._file = os.open(path, flags, 0o666)
        self._buffer = mmap.mmap(-1, _BUFFER_BYTES)
        self._bytes = np.frombuffer(self._buffer, dtype=np.uint8)
        self._filled = 0

    def __enter__(self) -> "DirectFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._end()
        finally:
            os.close(self._file)

    def write(self, runs: list[memoryview]) -> None:
        """Append bytes: at once and from where they are, if all are whole pages.

        Raises:
            OSError: the disk is full or broken.
        """
        if self._filled % mmap.PAGESIZE == 0 and all(map(_whole_pages, runs)):
            self._flush()
            self._put(runs)
        else:
            for run in runs:
                self._gather(run)

    def _gather(self, data: memoryview) -> None:
        while data:
            size = min(len(data), _BUFFER_BYTES - self._filled)
            # numpy lets other threads run meanwhile; a slice of the mmap would not.
            np.copyto(self._bytes[self._filled : self._filled + size], data[:size])
            self._filled += size
            data = data[size:]
            if self._filled == _BUFFER_BYTES:
                self._flush()

    def _end(self) -> None:
        whole = self._filled // mmap.PAGESIZE * mmap.PAGESIZE
        if whole < self._filled:  # the last block is not whole: it goes through the cache
            self._through_cache()
        self._flush()
        os.fsync(self._file)

    def _flush(self) -> None:
        self._put([memoryview(self._buffer)[: self._filled]])
        self._filled = 0

    def _put(self, runs: list[memoryview]) -> None:
        rest = [run for run in runs if run]
        while rest:
            try:
                written = os.writev(self._file, rest[:_MOST_RUNS])
            except OSError as error:
                if error.errno != errno.EINVAL or not self._through_cache():
                    raise
                continue
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if written:
                rest[0] = rest[0][written:]

    def _through_cache(self) -> bool:
        """Write through the page cache from here on; false where it did so already."""
        flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
        fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~_DIRECT)
        return bool(flags & _DIRECT)
