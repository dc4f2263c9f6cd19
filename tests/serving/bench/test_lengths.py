import itertools
import random
import statistics

import pytest

from clusters.config import ConfigError
from serving.bench.lengths import parse_lengths
from serving.bench.workload import arrivals


def drawn(text: str, count: int = 4000) -> list[int]:
    lengths = parse_lengths("--new-tokens", text)
    rng = random.Random()
    return [lengths.draw(rng) for _ in range(count)]


@pytest.mark.parametrize("text", ["7", "fixed:7"])
def test_fixed(text: str) -> None:
    assert set(drawn(text, 20)) == {7}


def test_uniform_takes_both_ends() -> None:
    assert set(drawn("uniform:3:6")) == {3, 4, 5, 6}


def test_lognormal_has_its_median_and_width() -> None:
    lengths = sorted(drawn("lognormal:200:0.5"))
    assert statistics.median(lengths) == pytest.approx(200, rel=0.08)
    # One standard deviation of the log above the median: the 84th percentile.
    assert lengths[int(0.8413 * len(lengths))] == pytest.approx(200 * 2.71828**0.5, rel=0.12)
    assert min(drawn("lognormal:1:3")) == 1


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "x", "1.5", "uniform:3", "uniform:5:3", "uniform:0:3", "normal:3:1",
     "fixed:1:2", "lognormal:nan:1", "lognormal:inf:1", "lognormal:10:-1", "lognormal:0:1"],
)  # fmt: skip
def test_names_the_option_of_what_is_no_length(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--new-tokens: "):
        parse_lengths("--new-tokens", text)


def test_arrivals_are_a_poisson_process() -> None:
    times = arrivals(random.Random(), 8000, 5.0)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert times[0] == 0
    assert statistics.mean(gaps) == pytest.approx(0.2, rel=0.06)
    assert statistics.stdev(gaps) == pytest.approx(0.2, rel=0.12)
    assert set(arrivals(random.Random(), 5, None)) == {0.0}
