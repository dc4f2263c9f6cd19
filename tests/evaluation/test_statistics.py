"""Intervals and chance bounds against slow, obvious references."""

import math
import random
from fractions import Fraction

import pytest

from contracts.statistics import wilson
from evaluation.statistics import (
    bits_per_byte,
    chance_error,
    clustered_mean,
    mapped,
    outside_probability,
    proportion,
)


def test_a_proportion_has_wilsons_interval() -> None:
    estimate = proportion(81, 263)
    assert (estimate.low, estimate.high) == wilson(81, 263)
    assert estimate.standard_error == pytest.approx(math.sqrt(81 * 182 / 263**3))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_a_proportion_of_nonsense_is_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        proportion(successes, n)


def test_clustered_mean_equals_plain_where_clusters_are_single() -> None:
    rng = random.Random()
    values = [rng.gauss(3, 1) for _ in range(50)]
    estimate = clustered_mean(values, [2.0] * 50, range(50))
    mean = sum(values) / 50
    variance = sum((v - mean) ** 2 for v in values) / 49
    assert estimate.mean == pytest.approx(mean)
    assert estimate.standard_error == pytest.approx(math.sqrt(variance / 50))


def test_repeating_rows_inside_clusters_adds_no_certainty() -> None:
    rng = random.Random()
    values = [rng.random() for _ in range(20)]
    once = clustered_mean(values, [1.0] * 20, range(20))
    thrice = clustered_mean(values * 3, [1.0] * 60, [*range(20)] * 3)
    assert thrice.mean == pytest.approx(once.mean)
    assert thrice.standard_error == pytest.approx(once.standard_error)


def test_one_cluster_says_nothing_about_spread() -> None:
    estimate = clustered_mean([1.0, 2.0], [1.0, 3.0], ["a", "a"])
    assert estimate.mean == 1.75
    assert estimate.low is estimate.high is estimate.standard_error is None
    assert mapped(estimate, math.exp).mean == pytest.approx(math.exp(1.75))


def test_outside_probability_by_counting() -> None:
    n, chance = 12, Fraction(1, 4)
    limit = 2 * chance_error(0.25, n)
    outside = sum(
        math.comb(n, k) * chance**k * (1 - chance) ** (n - k)
        for k in range(n + 1)
        if abs(k / n - 0.25) > limit
    )
    assert outside_probability(0.25, n, limit) == pytest.approx(float(outside))
    assert outside_probability(0.0, 200, 0.0) == 0.0


def test_bits_per_byte() -> None:
    assert bits_per_byte(math.log(2) * 24, 3) == pytest.approx(8)
