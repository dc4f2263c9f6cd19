"""A pseudo-random permutation of 0..n-1, computed point by point.

An alternating Feistel network over the smallest power of two that holds n, with cycle
walking: a value outside 0..n-1 is permuted again until it falls inside (Black and
Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). The round function is the
SplitMix64 finaliser (Steele, Lea and Flood, 2014): fast mixing, no cryptography.
"""

import numpy as np
from blake3 import blake3

ROUNDS = 6
_MASK = (1 << 64) - 1
_U27, _U30, _U31 = np.uint64(27), np.uint64(30), np.uint64(31)
_MULTIPLY_1, _MULTIPLY_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def mix(value: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser of every element, u64: as ``_mix``, since u64 arrays wrap."""
    value = value ^ (value >> _U30)
    value *= _MULTIPLY_1
    value ^= value >> _U27
    value *= _MULTIPLY_2
    value ^= value >> _U31
    return value


def permute(size: int, keys: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Where permutations of one size send many indices; each what ``Permutation`` answers.

    Args:
        size: of the permutations.
        keys: ``Permutation.keys`` of the permutation of each index, shape (n, ROUNDS), u64;
            or of the one permutation of all, shape (1, ROUNDS).
        indices: shape (n,), i64.

    Returns:
        Shape (n,), i64.

    Raises:
        IndexError: an index is outside ``range(size)``.
    """
    if len(indices) and not 0 <= indices.min() <= indices.max() < size:
        raise IndexError(f"indices {indices.min()}..{indices.max()} outside 0..{size - 1}")
    bits = _bits(size)
    values = _once_many(bits, keys, indices.astype(np.uint64))
    outside = np.flatnonzero(values >= size)
    while len(outside):
        own = keys[outside] if len(keys) > 1 else keys
        values[outside] = _once_many(bits, own, values[outside])
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


def _once_many(bits: int, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    low_bits = np.uint64(bits // 2)
    low_mask = np.uint64((1 << bits // 2) - 1)
    high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
    high, low = values >> low_bits, values & low_mask
    for number in range(ROUNDS):
        if number % 2:
            high ^= mix(low ^ keys[:, number]) & high_mask
        else:
            low ^= mix(high ^ keys[:, number]) & low_mask
    return high << low_bits | low


def _bits(size: int) -> int:
    """Bits of the smallest power of two that holds ``size``, at least two."""
    return max(2, (size - 1).bit_length())


class Permutation:
    """A bijection of ``range(size)`` chosen by ``key``; O(1) memory and time per point."""

    def __init__(self, size: int, key: bytes) -> None:
        if size < 1:
            raise ValueError(f"a permutation needs at least one element, got {size}")
        self.size = size
        bits = _bits(size)
        self._low_bits = bits // 2
        self._low_mask = (1 << self._low_bits) - 1
        self._high_mask = (1 << (bits - self._low_bits)) - 1
        stream = blake3(key).digest(8 * ROUNDS)
        self._keys = [int.from_bytes(stream[8 * i : 8 * i + 8], "little") for i in range(ROUNDS)]

    def __call__(self, index: int) -> int:
        """Where ``index`` goes.

        Raises:
            IndexError: ``index`` is outside ``range(size)``.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"{index} outside 0..{self.size - 1}")
        index = self._once(index)
        while index >= self.size:
            index = self._once(index)
        return index

    @property
    def keys(self) -> np.ndarray:
        """Of every round, shape (ROUNDS,), u64; for ``permute``."""
        return np.array(self._keys, dtype=np.uint64)

    def _once(self, value: int) -> int:
        high, low = value >> self._low_bits, value & self._low_mask
        for number, key in enumerate(self._keys):
            if number % 2:
                high ^= _mix(low ^ key) & self._high_mask
            else:
                low ^= _mix(high ^ key) & self._low_mask
        return high << self._low_bits | low
