import math

import pytest

from contracts.statistics import wilson


@pytest.mark.parametrize("trials", [1, 7, 200])
def test_wilson_solves_its_equation(trials: int) -> None:
    """Its ends are where |share - p| is 1.96 standard errors of p, by definition."""
    for successes in range(trials + 1):
        low, high = wilson(successes, trials)
        assert 0 <= low <= successes / trials <= high <= 1
        for end in (low, high):
            if 0 < end < 1:
                error = math.sqrt(end * (1 - end) / trials)
                assert abs(successes / trials - end) == pytest.approx(1.959964 * error, rel=1e-5)


def test_wilson_known_answers() -> None:
    """81 of 263 is a worked example of Newcombe 1998 (Statistics in Medicine 17:857)."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_nonsense(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(successes, trials)
