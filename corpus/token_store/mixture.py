"""Which domain sample k comes from: a deficit table over integer weights.

Inside a period of ``sum(weights)`` samples, each next sample goes to the domain whose
count lags most behind its share, ``weight * (t + 1) - period * count`` (smooth weighted
round-robin). After a whole period every domain was taken exactly ``weight`` times, so
the table of one period answers for every k.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np

MAX_PERIOD = 1 << 16
_MIN_TOTAL, _MAX_TOTAL = 1000, 60_000
"""Bounds of ``total_weight``; below ``MAX_PERIOD``, as rounding up may add to it."""

Schedule = Sequence[tuple[int, Mapping[str, int]]]
"""(first sample, weight per domain), the first samples rising from 0."""


@dataclass(frozen=True)
class _Segment:
    from_k: int
    base: list[int]
    """Samples per domain before ``from_k``."""
    weights: list[int]
    domain_at: np.ndarray
    """Domain of each position of a period, shape (period,)."""
    rank_at: np.ndarray
    """How often that domain came earlier in the period, shape (period,)."""

    def locate(self, k: int) -> tuple[int, int]:
        periods, position = divmod(k - self.from_k, len(self.domain_at))
        domain = int(self.domain_at[position])
        rank = int(self.rank_at[position])
        return domain, self.base[domain] + periods * self.weights[domain] + rank

    def locate_many(self, ks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``locate`` of every element of ``ks``, i64, all inside this segment."""
        periods, position = np.divmod(ks - self.from_k, len(self.domain_at))
        domains = self.domain_at[position]
        base = np.asarray(self.base, dtype=np.int64)[domains]
        weights = np.asarray(self.weights, dtype=np.int64)[domains]
        return domains, base + periods * weights + self.rank_at[position]

    def counts_at(self, k: int) -> list[int]:
        """Samples per domain before sample ``k``."""
        periods, position = divmod(k - self.from_k, len(self.domain_at))
        partial = np.bincount(self.domain_at[:position], minlength=len(self.weights))
        return [
            base + periods * weight + int(more)
            for base, weight, more in zip(self.base, self.weights, partial, strict=True)
        ]


class Mixture:
    """Maps sample k to (domain, how often that domain was taken before)."""

    def __init__(self, domains: Sequence[str], schedule: Schedule) -> None:
        """Raises ValueError for a schedule that is empty, unsorted or names no domain."""
        self.domains = list(domains)
        _check_schedule(self.domains, schedule)
        self._segments: list[_Segment] = []
        for from_k, weights in schedule:
            base = self._segments[-1].counts_at(from_k) if self._segments else [0] * len(domains)
            row = [weights.get(domain, 0) for domain in self.domains]
            self._segments.append(_Segment(from_k, base, row, *_deficit_table(row)))
        self._starts = [segment.from_k for segment in self._segments]

    def locate(self, k: int) -> tuple[str, int]:
        """Domain of sample ``k``, and the number of earlier samples of that domain.

        Raises:
            IndexError: ``k`` is negative.
        """
        if k < 0:
            raise IndexError(f"sample {k}: samples count from 0")
        domain, count = self._segments[bisect_right(self._starts, k) - 1].locate(k)
        return self.domains[domain], count

    def locate_many(self, ks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Domain (index into ``domains``) and count of every sample, each of shape (n,).

        Args:
            ks: (n,), i64.

        Raises:
            IndexError: one is negative.
        """
        if len(ks) and ks.min() < 0:
            raise IndexError(f"sample {ks.min()}: samples count from 0")
        segment_of = np.searchsorted(np.asarray(self._starts), ks, side="right") - 1
        domains = np.empty(len(ks), dtype=np.int64)
        counts = np.empty(len(ks), dtype=np.int64)
        for number in np.unique(segment_of):
            rows = np.flatnonzero(segment_of == number)
            domains[rows], counts[rows] = self._segments[number].locate_many(ks[rows])
        return domains, counts


def total_weight(shares: Collection[float]) -> int:
    """About what integer weights must sum to, so that 1 is the smallest of these shares.

    A share below 1 / 60,000 gets a weight of 1 all the same, which is more than its own.
    """
    most = min(_MAX_TOTAL, MAX_PERIOD - len(shares))
    needed = 1 / min(shares, default=1.0)
    # A quotient that lies a rounding error above a whole number is that number.
    return ceil(min(max(needed * (1 - 1e-12), _MIN_TOTAL), most))


def proportional_weights(sizes: Mapping[str, int]) -> dict[str, int]:
    """Small integer weights in the proportion of ``sizes``; at least 1 where size > 0."""
    whole = sum(sizes.values())
    total = total_weight([size / whole for size in sizes.values() if size > 0])
    weights = {
        name: max(1, round(total * size / whole)) for name, size in sizes.items() if size > 0
    }
    divisor = int(np.gcd.reduce(list(weights.values()))) if weights else 1
    return {name: weight // divisor for name, weight in weights.items()}


def _deficit_table(weights: list[int]) -> tuple[np.ndarray, np.ndarray]:
    period = sum(weights)
    step = np.asarray(weights, dtype=np.int64)
    deficit = np.zeros(len(weights), dtype=np.int64)
    counts = np.zeros(len(weights), dtype=np.int64)
    domain_at = np.empty(period, dtype=np.int32)
    rank_at = np.empty(period, dtype=np.int32)
    for position in range(period):
        deficit += step
        domain = int(deficit.argmax())  # ties go to the first domain
        domain_at[position] = domain
        rank_at[position] = counts[domain]
        deficit[domain] -= period
        counts[domain] += 1
    return domain_at, rank_at


def _check_schedule(domains: list[str], schedule: Schedule) -> None:
    if not schedule or schedule[0][0] != 0:
        raise ValueError("mixture schedule: its first segment must start at sample 0")
    starts = [from_k for from_k, _ in schedule]
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise ValueError(f"mixture schedule: starts must rise, got {starts}")
    for from_k, weights in schedule:
        where = f"mixture schedule, segment from {from_k}"
        for domain, weight in weights.items():
            if domain not in domains:
                raise ValueError(f"{where}: no domain {domain!r}; there are: {', '.join(domains)}")
            if weight < 0 or weight != int(weight):
                raise ValueError(f"{where}: {domain}: weight {weight} is no whole number >= 0")
        if not 0 < sum(weights.values()) <= MAX_PERIOD:
            raise ValueError(f"{where}: weights must sum to 1..{MAX_PERIOD}")
