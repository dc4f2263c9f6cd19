"""The controls hold on sound benchmarks and fail on broken ones."""

import json
from pathlib import Path

import pytest

from contracts.question import Question
from contracts.score import Score
from evaluation.benchmark import ChoiceBenchmark, load_benchmark
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
from evaluation.samples import ChoiceSample, Sources
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


@pytest.mark.parametrize("name", CONTROLLED)
def test_a_uniform_engine_is_near_chance(
    name: str, tokenizer: ChatTokenizer, sources: Sources
) -> None:
    """Over many draws: the share of draws within two standard errors is as computed."""
    benchmark = load_benchmark(name)
    samples = method_of(benchmark).draw(benchmark, sources)
    draws = 3 if name == "arithmetic" else 8
    held = 0
    for draw in range(1, draws + 1):
        engine = UniformEngine(tokenizer.vocab_size, seed=control("uniform", Path(), 5, draw).seed)
        rows = evaluate(engine, tokenizer, benchmark, samples, model="uniform")
        held += all(c.held for c in uniform_controls(benchmark, samples, rows, draw))
    assert held >= draws - 4  # seeds are fixed; about one draw in ten misses a metric


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
        require(uniform_controls(benchmark, samples, leaked, draw=4))


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


def test_false_alarms_are_rare(sources: Sources) -> None:
    benchmark = load_benchmark("docs_choice")
    samples = ChoiceMethod().draw(benchmark, sources)  # type: ignore[arg-type]
    rows = [_row(sample, index) for index, sample in enumerate(samples)]
    for found in uniform_controls(benchmark, samples, rows, draw=1):
        assert 0 < found.false_alarm < 1e-4


def _row(sample: ChoiceSample, index: int) -> Score:
    return Score(
        benchmark="docs_choice", version=1, sample_id=sample.id, model="uniform",
        prompt_hash="", output="", extracted="A", correct=float(index % 4 == 0),
    )  # fmt: skip
