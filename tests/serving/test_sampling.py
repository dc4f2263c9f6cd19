import math
import random
from collections.abc import Iterator

import pytest
import torch

from contracts.engine import SamplingParams
from serving.engine.filters import adjust, keep
from serving.engine.sampling import Draw, choose, likeliest


def sample(
    logits: torch.Tensor, params: list[SamplingParams], steps: list[int]
) -> tuple[list[int], list[float]]:
    draws = [Draw(p, [], [0] * step) for p, step in zip(params, steps, strict=True)]
    choices = choose(logits, draws)
    return [c.token for c in choices], [c.logprob for c in choices]


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


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_nor_on_how_much_company_where_the_vocabulary_is_large() -> None:
    """A sum over 50257 numbers is cut among threads by how many rows there are."""
    logits = torch.randn(64, 50257) * 3
    params = [SamplingParams(temperature=t % 3 / 2, seed=t, top_logprobs=2) for t in range(64)]
    draws = [Draw(p, [], []) for p in params]
    together = choose(logits, draws)
    for row in range(64):
        assert choose(logits[row : row + 1], draws[row : row + 1]) == together[row : row + 1]


@pytest.mark.parametrize("temperature", [1e-6, 1e-38, 1e-45, 1e-300, 5e-324])
def test_the_smallest_temperatures_are_greedy(temperature: float) -> None:
    logits = torch.randn(6, 500) * 40
    filters = SamplingParams(temperature=temperature, top_p=0.9, top_k=40, min_p=0.01, seed=3)
    plain = SamplingParams(temperature=temperature, seed=3)
    for params in (plain, filters):
        assert sample(logits, [params] * 6, [0] * 6)[0] == logits.argmax(-1).tolist()


def test_steps_and_seeds_draw_anew() -> None:
    logits = torch.zeros(1, 10_000)
    seen = {
        sample(logits, [SamplingParams(temperature=1, seed=seed)], [step])[0][0]
        for seed in range(8)
        for step in range(8)
    }
    assert len(seen) > 60


def test_a_row_of_no_numbers_is_told_apart() -> None:
    logits = torch.randn(4, 30)
    logits[1, 3] = torch.nan
    logits[2, 3] = torch.inf
    logits[3, 3] = -torch.inf
    choices = choose(logits, [Draw(SamplingParams(temperature=t), [], []) for t in (0, 1, 0, 1)])
    assert [choice is None for choice in choices] == [False, True, True, False]


def test_top_logprobs_are_the_likeliest_before_any_change() -> None:
    logits = torch.randn(1, 50)
    params = SamplingParams(top_logprobs=5, logit_bias=((7, 100.0),), temperature=2.0)
    (choice,) = choose(logits, [Draw(params, [], [])])
    plain = torch.log_softmax(logits[0], -1)
    values, ids = plain.topk(5)
    assert [i for i, _ in choice.top] == ids.tolist()
    assert [v for _, v in choice.top] == pytest.approx(values.tolist(), abs=1e-5)
    assert choice.token == 7
    assert choice.logprob == pytest.approx(plain[7].item(), abs=1e-5)


def slow_adjust(row: list, params: SamplingParams, prompt: list[int], output: list[int]) -> list:
    """Token by token, as the fields say it."""
    changed = []
    for token, logit in enumerate(row):
        logit += dict(params.logit_bias).get(token, 0.0)
        if token in prompt or token in output:
            penalty = params.repetition_penalty
            logit = logit / penalty if logit > 0 else logit * penalty
        if token in output:
            logit -= params.presence_penalty
        changed.append(logit - output.count(token) * params.frequency_penalty)
    return changed


def test_bias_and_penalties_equal_the_slow_reference() -> None:
    rng = random.Random()
    for _ in range(30):
        prompt = [rng.randrange(40) for _ in range(rng.randint(1, 20))]
        output = [rng.randrange(40) for _ in range(rng.randint(0, 30))]
        params = SamplingParams(
            repetition_penalty=rng.uniform(0.5, 2),
            presence_penalty=rng.uniform(-2, 2),
            frequency_penalty=rng.uniform(-2, 2),
            logit_bias=tuple((t, rng.uniform(-5, 5)) for t in rng.sample(range(40), 3)),
        )
        row = torch.randn(40)
        want = slow_adjust(row.tolist(), params, prompt, output)
        adjust(row, params, prompt, output)
        assert row.tolist() == pytest.approx(want, abs=1e-4)


def test_min_p_keeps_what_is_likely_enough() -> None:
    row = torch.tensor([0.5, 0.26, 0.14, 0.1]).log()
    keep(row, SamplingParams(min_p=0.27))
    assert (row > -torch.inf).tolist() == [True, True, True, False]


def test_a_guide_allows_nothing_else() -> None:
    allowed = torch.zeros(20, dtype=torch.bool)
    allowed[[3, 11]] = True
    params = [SamplingParams(temperature=1.0, seed=s) for s in range(60)]
    draws = [Draw(p, [], [], allowed) for p in params]
    logits = torch.randn(1, 20)
    logits[0, allowed] = 0.0  # both are as likely
    seen = {c.token for c in choose(logits.expand(60, -1), draws)}
    assert seen == {3, 11}


def test_the_likeliest_is_the_first_of_the_largest() -> None:
    logits = torch.randn(5, 400).round(decimals=1)
    logits[1, [7, 300]] = 9.0
    logits[2, [5, 50]] = torch.nan
    logits[3] = -torch.inf
    assert likeliest(logits).tolist() == [
        row.index(max(row)) for row in logits.nan_to_num(nan=99.0).tolist()
    ]
