"""Means with their uncertainty, and the bounds the controls are held to."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.statistics import Z95, wilson


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval."""

    mean: float
    low: float | None
    high: float | None
    standard_error: float | None
    """None, like the interval, where a single cluster leaves it unknown."""
    n: int


def proportion(successes: int, n: int) -> Estimate:
    """Share of successes with Wilson's score interval.

    Raises:
        ValueError: ``n`` is 0 or ``successes`` is outside 0..n.
    """
    if n <= 0:
        raise ValueError(f"no share of {successes} in {n}")
    share = successes / n
    low, high = wilson(successes, n)
    return Estimate(share, low, high, math.sqrt(share * (1 - share) / n), n)


def clustered_mean(
    values: Sequence[float], weights: Sequence[float], clusters: Sequence[object]
) -> Estimate:
    """Weighted mean with a standard error that counts clusters, not rows.

    Pieces of one document are not independent, so residuals are summed inside each
    cluster first: se = sqrt(C/(C-1) * sum_c (sum_{i in c} w_i (x_i - mean))^2) / sum w
    (clustered standard errors, arXiv:2411.00640 section 2.2, for a ratio of sums).

    Raises:
        ValueError: nothing to average.
    """
    total = math.fsum(weights)
    if not values or total <= 0:
        raise ValueError("no values to average")
    mean = math.fsum(w * x for w, x in zip(weights, values, strict=True)) / total
    residuals: dict[object, float] = {}
    for value, weight, cluster in zip(values, weights, clusters, strict=True):
        residuals[cluster] = residuals.get(cluster, 0.0) + weight * (value - mean)
    count = len(residuals)
    if count < 2:
        return Estimate(mean, None, None, None, len(values))
    squares = math.fsum(r * r for r in residuals.values())
    error = math.sqrt(count / (count - 1) * squares) / total
    return Estimate(mean, mean - Z95 * error, mean + Z95 * error, error, len(values))


def mapped(estimate: Estimate, function: Callable[[float], float]) -> Estimate:
    """The estimate under an increasing function; its error is half the new interval over z."""
    mean = function(estimate.mean)
    if estimate.low is None or estimate.high is None:
        return Estimate(mean, None, None, None, estimate.n)
    low, high = function(estimate.low), function(estimate.high)
    return Estimate(mean, low, high, (high - low) / (2 * Z95), estimate.n)


def chance_error(chance: float, n: int) -> float:
    """Standard error of the share of right answers of a guesser with that chance."""
    return math.sqrt(chance * (1 - chance) / n)


def outside_probability(chance: float, n: int, distance: float) -> float:
    """Exact probability that a fair guesser's share is further than ``distance`` from chance."""
    if chance in (0.0, 1.0):
        return 0.0
    inside = math.fsum(
        math.exp(_log_binomial(k, n, chance))
        for k in range(n + 1)
        if abs(k / n - chance) <= distance
    )
    return max(0.0, 1.0 - inside)


def _log_binomial(k: int, n: int, p: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return ways + k * math.log(p) + (n - k) * math.log1p(-p)


def bits_per_byte(nats: float, num_bytes: int) -> float:
    """Total loss in nats over the bytes it predicts, in bits (arXiv:2101.00027 section 3.1)."""
    return nats / (math.log(2) * num_bytes)
