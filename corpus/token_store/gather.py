"""Copies many windows of many memory maps into one array, in one call of numpy.

All maps of a process lie in one address space, so one strided array that begins at the
lowest of them reaches every token of every shard: row i of it is the window that begins
i tokens after the lowest address. Indexing it with a vector of starts copies the windows
row by row in C, whichever shards they are in. Only rows that begin at a checked place
inside a map are ever read.
"""

from collections.abc import Sequence

import numpy as np


class _Memory:
    """What numpy needs to look at memory that others own (``__array_interface__``)."""

    def __init__(self, address: int, rows: int, row_bytes: int, stride: int) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, True),
            "shape": (rows,),
            "strides": (stride,),
            "typestr": f"|V{row_bytes}",
        }


class Gather:
    """Windows of one length over several arrays of one type."""

    def __init__(self, arrays: Sequence[np.ndarray], length: int) -> None:
        """Keeps ``arrays`` (contiguous, each of shape (tokens,)) alive as long as it lives.

        Args:
            arrays: at least one.
            length: tokens of a window.
        """
        self._arrays = list(arrays)
        dtype = arrays[0].dtype
        addresses = [array.ctypes.data for array in arrays]
        lowest = min(addresses)
        end = max(a + array.nbytes for a, array in zip(addresses, arrays, strict=True))
        self._base = np.array([(a - lowest) // dtype.itemsize for a in addresses], dtype=np.int64)
        self._sizes = np.array([len(array) for array in arrays], dtype=np.int64)
        self._length = length
        rows = (end - lowest) // dtype.itemsize - length + 1
        self._dtype = dtype
        # A row is one opaque element of all its bytes: numpy then copies it in one go.
        memory = _Memory(lowest, rows, length * dtype.itemsize, dtype.itemsize)
        self._windows = np.asarray(memory)

    def rows(self, array: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Numbers that ``take`` understands of the windows at ``start`` of ``array``.

        Args:
            array: number of the array each window is in, shape (n,).
            start: its first token there, shape (n,), i64.

        Raises:
            IndexError: a window leaves its array.
        """
        outside = (start < 0) | (start + self._length > self._sizes[array])
        if outside.any():
            bad = int(np.flatnonzero(outside)[0])
            raise IndexError(
                f"window {start[bad]}..{start[bad] + self._length} leaves array {array[bad]} "
                f"of {self._sizes[array[bad]]} tokens"
            )
        return self._base[array] + start

    def take(self, rows: np.ndarray) -> np.ndarray:
        """A copy of the windows, shape (n, length), in the arrays' type."""
        return self._windows[rows].view(self._dtype).reshape(len(rows), self._length)
