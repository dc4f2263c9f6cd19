"""Statistics that more than one room reports with."""

import math

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution: two-sided 95 %."""


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927, JASA 22:209); (0, 1) for no trials.

    ``(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)``. Unlike the normal
    interval it stays inside [0, 1] and is not empty at 0 or ``trials`` successes.

    Raises:
        ValueError: ``successes`` is outside 0..``trials``.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"no share of {successes} in {trials}")
    if trials == 0:
        return 0.0, 1.0
    share, z2 = successes / trials, Z95 * Z95
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = share * (1 - share) / trials + z2 / (4 * trials * trials)
    half = Z95 / (1 + z2 / trials) * math.sqrt(spread)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high
