"""The best documents that fit a budget, found in four passes and bounded memory.

Documents are ordered by a 64-bit key. Each pass adds up the bytes per value of the next 16
bits of the key among those that share the bits decided so far, so memory does not grow with
the number of documents and the cut is exact.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

_DIGIT_BITS = 16
_ROUNDS = 64 // _DIGIT_BITS
_MIX = np.uint64(0x9E3779B97F4A7C15)

Batches = Callable[[], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]
"""Each call streams (domain, key u64, bytes i64) of all documents again."""


def keys_of(values: np.ndarray, uids: np.ndarray, highest: bool, seed: int) -> np.ndarray:
    """u64 per document, the best smallest: value, then a hash of seed and uid.

    ``values`` is f32; documents without one (nan) come last.
    """
    bits = np.ascontiguousarray(values, "<f4").view(np.uint32).copy()
    bits[values == 0] = 0  # -0.0 is 0.0
    negative = bits >> 31 == 1
    rising = np.where(negative, ~bits, bits | np.uint32(1 << 31))
    if highest:
        rising = ~rising
    rising[np.isnan(values)] = np.uint32(0xFFFFFFFF)
    mixed = (uids ^ np.uint64(seed & (2**64 - 1))) * _MIX
    return (rising.astype(np.uint64) << np.uint64(32)) | (mixed >> np.uint64(32))


def cuts(batches: Batches, budgets: Mapping[str, int]) -> dict[str, int | None]:
    """Domain -> the smallest key that is no longer taken; None where all of it fits.

    Below the cut lie at most ``budgets[domain]`` bytes, and the next key would not fit.
    """
    state = {domain: [0, budget] for domain, budget in budgets.items()}
    whole: set[str] = set()
    for round_ in range(_ROUNDS):
        sums = _histograms(batches, {d: s[0] for d, s in state.items() if d not in whole}, round_)
        for domain, histogram in sums.items():
            prefix, left = state[domain]
            running = np.cumsum(histogram)
            if round_ == 0 and running[-1] <= left:
                whole.add(domain)
                continue
            digit = int(np.searchsorted(running, left, side="right"))
            digit = min(digit, len(running) - 1)
            before = int(running[digit - 1]) if digit else 0
            state[domain] = [(prefix << _DIGIT_BITS) | digit, left - before]
    return {d: None if d in whole else s[0] for d, s in state.items()}


def _histograms(batches: Batches, prefixes: dict[str, int], round_: int) -> dict[str, np.ndarray]:
    """Bytes per value of this round's digit, among the keys under each domain's prefix."""
    sums = {domain: np.zeros(1 << _DIGIT_BITS, np.int64) for domain in prefixes}
    shift = np.uint64(64 - _DIGIT_BITS * (round_ + 1))
    for domains, keys, sizes in batches():
        digits = keys >> shift
        for domain, prefix in prefixes.items():
            inside = domains == domain
            if round_:
                inside &= digits >> np.uint64(_DIGIT_BITS) == np.uint64(prefix)
            chosen = (digits[inside] & np.uint64((1 << _DIGIT_BITS) - 1)).astype(np.int64)
            np.add.at(sums[domain], chosen, sizes[inside])
    return sums
