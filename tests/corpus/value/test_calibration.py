import numpy as np
import pytest

from corpus.value.calibration import Calibration, fit
from corpus.value.metrics import auc, calibration_error


def _margins(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Margins of which 4 * margin - 1 are the true log odds, as an overconfident model has them."""
    odds = rng.normal(0, 2, 4 * size)
    labels = rng.random(4 * size) < 1 / (1 + np.exp(-odds))
    margins = 4 * odds - 1
    return margins[labels], margins[~labels]


def test_auc_against_the_count_of_pairs() -> None:
    rng = np.random.default_rng()
    for _ in range(20):
        good = rng.integers(0, 8, rng.integers(1, 30)) / 8
        bad = rng.integers(0, 8, rng.integers(1, 30)) / 8
        pairs = [(g > b) + 0.5 * (g == b) for g in good for b in bad]
        assert auc(good, bad) == pytest.approx(np.mean(pairs))
    with pytest.raises(ValueError):
        auc(np.zeros(0), np.ones(3))


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibrated_scores_never_fall_and_come_near_the_truth(method: str) -> None:
    rng = np.random.default_rng()
    found = fit(*_margins(rng, 1000), method)
    line = np.linspace(-40, 40, 2001)
    values = found.apply(line)
    assert values.dtype == np.float32
    assert (np.diff(values) >= 0).all()
    assert values.min() >= 0
    assert values.max() <= 1
    good, bad = _margins(rng, 1000)
    before = Calibration(method="none")
    error = calibration_error(found.apply(good), found.apply(bad))
    assert error < 0.04 < calibration_error(before.apply(good), before.apply(bad))


def test_isotonic_against_a_slow_reference() -> None:
    rng = np.random.default_rng()
    for _ in range(20):
        good, bad = rng.normal(0.5, 1, 15), rng.normal(-0.5, 1, 9)
        found = fit(good, bad, "isotonic")
        margins = np.concatenate([good, bad])
        order = np.argsort(margins)
        labels = np.repeat([1.0, 0.0], [15, 9])[order]
        weights = np.repeat([0.5 / 15, 0.5 / 9], [15, 9])[order]
        # max over left ends of the min over right ends of the weighted mean
        best = [
            max(
                min(np.average(labels[i : j + 1], weights=weights[i : j + 1])
                    for j in range(k, 24))
                for i in range(k + 1)
            )
            for k in range(24)
        ]  # fmt: skip
        levels = sorted(set(np.round(best, 9)))
        assert sorted(set(np.round(found.probabilities, 9))) == pytest.approx(levels)


def test_inverted_and_separated_classes() -> None:
    for method in ("platt", "isotonic"):
        inverted = fit(np.full(20, -1.0), np.full(20, 1.0), method)
        assert (np.diff(inverted.apply(np.linspace(-3, 3, 50))) >= 0).all()
        apart = fit(np.arange(1.0, 20), -np.arange(1.0, 20), method)
        assert apart.apply(np.array([9.0]))[0] > 0.9
        assert apart.apply(np.array([-9.0]))[0] < 0.1
    assert fit(np.zeros(0), np.ones(3), "platt").method == "none"


def test_calibration_error_of_known_scores() -> None:
    sure = calibration_error(np.ones(5), np.zeros(7))
    assert sure == 0
    assert calibration_error(np.zeros(5), np.ones(7)) == pytest.approx(1)
    assert calibration_error(np.full(4, 0.5), np.full(9, 0.5)) == pytest.approx(0)
