"""A pseudo-random permutation of 0..n-1, computed point by point.

An alternating Feistel network over the smallest power of two that holds n, with cycle
walking: a value outside 0..n-1 is permuted again until it falls inside (Black and
Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). The round function is the
SplitMix64 finaliser (Steele, Lea and Flood, 2014): fast mixing, no cryptography.
"""

from blake3 import blake3

ROUNDS = 6
_MASK = (1 << 64) - 1


def _mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Permutation:
    """A bijection of ``range(size)`` chosen by ``key``; O(1) memory and time per point."""

    def __init__(self, size: int, key: bytes) -> None:
        if size < 1:
            raise ValueError(f"a permutation needs at least one element, got {size}")
        self.size = size
        bits = max(2, (size - 1).bit_length())
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

    def _once(self, value: int) -> int:
        high, low = value >> self._low_bits, value & self._low_mask
        for number, key in enumerate(self._keys):
            if number % 2:
                high ^= _mix(low ^ key) & self._high_mask
            else:
                low ^= _mix(high ^ key) & self._low_mask
        return high << self._low_bits | low
