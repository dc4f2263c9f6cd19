from itertools import pairwise

import pytest

from trainer.config import OptimiserConfig
from trainer.schedule import learning_rate


def rates(total: int, warmup: int, ratio: float, **other) -> list[float]:
    config = OptimiserConfig(lr=2.0, warmup_steps=warmup, final_lr_ratio=ratio, **other)
    return [learning_rate(step, total, config) for step in range(total)]


@pytest.mark.parametrize(("total", "warmup"), [(50, 10), (3, 0), (2, 1), (100, 99)])
def test_rises_to_the_peak_and_falls_to_the_end(total: int, warmup: int):
    found = rates(total, warmup, 0.1)
    assert max(found) == pytest.approx(2.0)
    assert found[:warmup] == sorted(found[:warmup])
    assert found[warmup:] == sorted(found[warmup:], reverse=True)
    assert min(found) > 0


def test_known_values():
    found = rates(21, 0, 0.0)
    assert found[0] == pytest.approx(2.0)
    assert found[10] == pytest.approx(1.0)
    assert found[20] == pytest.approx(0.0, abs=1e-12)


def test_a_warmup_longer_than_the_run_only_rises():
    found = rates(5, 10, 0.1)
    assert found == sorted(found)
    assert found[0] == pytest.approx(0.2)


def test_warmup_stable_decay():
    found = rates(40, 5, 0.25, schedule="wsd", decay_share=0.2)
    assert found[4:32] == [2.0] * 28
    assert found[32] == 2.0
    drops = [a - b for a, b in pairwise(found[32:])]
    assert drops == pytest.approx([1.5 / 7] * 7)
    assert found[-1] == pytest.approx(0.5)


def test_constant_after_the_warmup():
    assert rates(6, 2, 0.0, schedule="constant") == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]
