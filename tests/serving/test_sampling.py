import math
import random

import pytest
import torch

from contracts.engine import SamplingParams
from serving.engine.sampling import sample


def draws(logits: torch.Tensor, count: int, **settings: float) -> list[int]:
    rows = logits[None].expand(count, -1)
    params = [SamplingParams(temperature=1.0, seed=s, **settings) for s in range(count)]
    return sample(rows, params, [0] * count)[0]


def test_greedy_and_log_probs() -> None:
    logits = torch.randn(5, 40)
    tokens, logprobs = sample(logits, [SamplingParams()] * 5, [0] * 5)
    assert tokens == logits.argmax(-1).tolist()
    for row, token, logprob in zip(logits.tolist(), tokens, logprobs, strict=True):
        assert logprob == pytest.approx(row[token] - math.log(sum(map(math.exp, row))), abs=1e-5)


def test_frequencies_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    count = 4000
    seen = torch.bincount(torch.tensor(draws(probabilities.log(), count)), minlength=4) / count
    spread = (probabilities * (1 - probabilities) / count).sqrt()
    assert ((seen - probabilities).abs() < 5 * spread).all()


def test_temperature_sharpens() -> None:
    logits = torch.tensor([0.6, 0.4]).log()
    params = [SamplingParams(temperature=0.25, seed=s) for s in range(3000)]
    tokens, _ = sample(logits[None].expand(3000, -1), params, [0] * 3000)
    assert sum(tokens) / 3000 == pytest.approx(0.4**4 / (0.4**4 + 0.6**4), abs=0.04)


def test_top_k_and_nucleus_keep_what_they_say() -> None:
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    assert set(draws(logits, 300, top_k=2)) == {0, 1}
    assert set(draws(logits, 300, top_p=0.65)) == {0, 1}
    assert set(draws(logits, 300, top_p=0.75)) == {0, 1, 2}
    assert set(draws(logits, 50, top_p=1e-9)) == {0}
    assert set(draws(torch.zeros(4), 200, top_k=2)) == {0, 1}


def test_a_row_does_not_depend_on_its_company() -> None:
    rng = random.Random()
    logits = torch.randn(9, 300)
    params = [
        SamplingParams(
            temperature=rng.choice([0.0, 0.5, 1.5]),
            top_k=rng.choice([0, 5]),
            top_p=rng.choice([1.0, 0.8]),
            seed=rng.randrange(1 << 62),
        )
        for _ in range(9)
    ]
    steps = [rng.randrange(100) for _ in range(9)]
    together = sample(logits, params, steps)
    for row in range(9):
        alone = sample(logits[row : row + 1], [params[row]], [steps[row]])
        assert (alone[0][0], alone[1][0]) == (together[0][row], together[1][row])


def test_steps_and_seeds_draw_anew() -> None:
    logits = torch.zeros(1, 10_000)
    seen = {
        sample(logits, [SamplingParams(temperature=1, seed=seed)], [step])[0][0]
        for seed in range(8)
        for step in range(8)
    }
    assert len(seen) > 60
