"""The controls hold on sound benchmarks and fail on broken ones."""

import json
from math import fsum
from pathlib import Path
from statistics import stdev

import pytest

from contracts.question import Question
from contracts.score import Score
from evaluation.benchmark import Benchmark, ChoiceBenchmark, load_benchmark
from evaluation.contestants import control
from evaluation.controls import (
    ControlFailed,
    oracle_controls,
    oracle_engine,
    require,
    uniform_controls,
)
from evaluation.evaluate import evaluate
from evaluation.methods.choice import ChoiceMethod
from evaluation.methods.registry import method_of
from evaluation.samples import ChoiceSample, Sample, Sources
from evaluation.statistics import chance_error
from serving.testing import UniformEngine
from serving.tokenizer import ChatTokenizer
from tests.evaluation.makers import make_questions

CONTROLLED = ["docs_choice", "docs_choice_text", "arithmetic"]


@pytest.fixture(scope="module")
def tokenizer(model_dir: Path) -> ChatTokenizer:
    return ChatTokenizer.load(model_dir)


@pytest.fixture(scope="module")
def sources() -> Sources:
    rows = make_questions(150, seed=21)
    return Sources(validation=Path("unread"), questions=[Question(**row) for row in rows])


@pytest.mark.parametrize("name", CONTROLLED)
def test_the_oracle_is_always_right(name: str, tokenizer: ChatTokenizer, sources: Sources) -> None:
    benchmark = load_benchmark(name)
    samples = method_of(benchmark).draw(benchmark, sources)
    engine = oracle_engine(benchmark, samples, tokenizer)
    rows = evaluate(engine, tokenizer, benchmark, samples, model="oracle")
    controls = oracle_controls(benchmark, samples, rows)
    assert controls
    require(controls)


def uniform_rows(
    benchmark: Benchmark, samples: list[Sample], tokenizer: ChatTokenizer, seed: int, draw: int
) -> list[Score]:
    seed = control("uniform", Path(), seed, draw).seed
    engine = UniformEngine(tokenizer.vocab_size, seed=seed)
    return evaluate(engine, tokenizer, benchmark, samples, model="uniform")


@pytest.mark.parametrize("name", ["docs_choice", "docs_choice_text"])
def test_a_uniform_engine_is_near_chance(
    name: str, tokenizer: ChatTokenizer, sources: Sources
) -> None:
    """Under several seeds; its passes are independent guesses and spread like them."""
    benchmark = load_benchmark(name)
    samples = method_of(benchmark).draw(benchmark, sources)
    means = []
    for seed in range(4):
        passes = [uniform_rows(benchmark, samples, tokenizer, seed, d) for d in (1, 2, 3, 4)]
        controls = uniform_controls(benchmark, samples, passes)
        require(controls)
        assert all(c.draws == 4 and c.false_alarm < 0.002 for c in controls)
        answers = next(c for c in controls if c.metric == "accuracy")
        assert answers.n == 4 * len(samples)
        assert answers.mean == fsum(row.correct for rows in passes for row in rows) / answers.n
        means += [fsum(row.correct for row in rows) / len(rows) for rows in passes]
    spread = stdev(means) / chance_error(0.25, len(samples))
    # 16 passes: 15 s^2 / sigma^2 is chi-squared with 15 degrees, within 3.1 and 38 with
    # a probability of 0.998.
    assert 3.1 < 15 * spread**2 < 38


def test_a_uniform_engine_makes_no_call(tokenizer: ChatTokenizer, sources: Sources) -> None:
    benchmark = load_benchmark("arithmetic")
    samples = method_of(benchmark).draw(benchmark, sources)
    rows = uniform_rows(benchmark, samples, tokenizer, seed=5, draw=1)
    (found,) = uniform_controls(benchmark, samples, [rows])
    assert (found.mean, found.expected, found.tolerance, found.held) == (0.0, 0.0, 0.0, True)
    one_call = [rows[0].model_copy(update={"correct": 1.0}), *rows[1:]]
    assert not uniform_controls(benchmark, samples, [one_call])[0].held


def test_every_pass_counts(sources: Sources) -> None:
    """A pass that is right by chance cannot stand for the others."""
    benchmark = load_benchmark("docs_choice_text")
    samples = method_of(benchmark).draw(benchmark, sources)
    fair = [_row(sample, index) for index, sample in enumerate(samples)]
    lucky = [row.model_copy(update={"correct": 1.0}) for row in fair]
    (alone,) = uniform_controls(benchmark, samples, [fair])
    (pooled,) = uniform_controls(benchmark, samples, [lucky, fair, fair, fair])
    assert alone.held
    assert not pooled.held
    assert pooled.tolerance == alone.tolerance == 2 * alone.standard_error
    assert pooled.standard_error == pytest.approx(alone.standard_error / 2)


def test_a_question_that_shows_its_answer_is_caught(
    tokenizer: ChatTokenizer, sources: Sources
) -> None:
    """The uniform engine's grades, had half of all questions been given away."""
    benchmark = load_benchmark("docs_choice")
    assert isinstance(benchmark, ChoiceBenchmark)
    samples = ChoiceMethod().draw(benchmark, sources)
    engine = UniformEngine(tokenizer.vocab_size, seed=1)
    rows = evaluate(engine, tokenizer, benchmark, samples, model="uniform")
    leaked = [r.model_copy(update={"correct": 1.0}) if i % 2 else r for i, r in enumerate(rows)]
    with pytest.raises(ControlFailed, match=r"docs_choice: the uniform engine got .* give answers"):
        require(uniform_controls(benchmark, samples, [leaked] * 4))


def test_a_lost_answer_is_caught(tokenizer: ChatTokenizer, sources: Sources) -> None:
    """Answers cut short: the oracle cannot finish its calls."""
    benchmark = load_benchmark("arithmetic").model_copy(update={"samples": 9, "max_tokens": 5})
    samples = method_of(benchmark).draw(benchmark, sources)
    engine = oracle_engine(benchmark, samples, tokenizer)
    rows = evaluate(engine, tokenizer, benchmark, samples, model="oracle")
    with pytest.raises(ControlFailed, match="the oracle engine got accuracy 0"):
        require(oracle_controls(benchmark, samples, rows))


def test_a_wrong_rotation_is_caught(tokenizer: ChatTokenizer, sources: Sources) -> None:
    """Gold indices that do not follow the options: what a bug in rotating would do."""
    benchmark = load_benchmark("docs_choice")
    samples = ChoiceMethod().draw(benchmark, sources)  # type: ignore[arg-type]
    broken = [s.model_copy(update={"gold": (s.gold + 1) % 4}) for s in samples[1::4]]
    engine = oracle_engine(benchmark, samples, tokenizer)
    rows = evaluate(engine, tokenizer, benchmark, broken, model="oracle")
    assert sum(row.correct for row in rows) == 0
    assert all(json.loads(row.output)["logprobs"].count(0.0) == 1 for row in rows)


def _row(sample: ChoiceSample, index: int) -> Score:
    return Score(
        benchmark="docs_choice", version=1, sample_id=sample.id, model="uniform",
        prompt_hash="", output="", extracted="A", correct=float(index % 4 == 0),
    )  # fmt: skip
