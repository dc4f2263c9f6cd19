"""Drawing, asking and grading, with test engines that are known to the last digit."""

import itertools
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from clusters.artifact import Artifact
from contracts.engine import Capability, EngineRequest, PromptTooLong
from contracts.question import Question
from contracts.score import Score
from contracts.unigram import count_tokens
from evaluation.benchmark import (
    ChoiceBenchmark,
    LossBenchmark,
    ToolCallBenchmark,
    load_benchmark,
)
from evaluation.controls import oracle_engine, unigram_engine
from evaluation.evaluate import EngineLacks, evaluate, regrade
from evaluation.methods.choice import ChoiceMethod, rotated
from evaluation.methods.loss import LossMethod
from evaluation.methods.tool_call import ToolCallMethod
from evaluation.samples import ChoiceSample, Sources
from evaluation.summary import results_of
from evaluation.vocabulary import token_bytes
from serving.testing import ScriptedEngine, UniformEngine
from serving.tokenizer import ChatTokenizer
from tests.evaluation.makers import make_questions


@pytest.fixture(scope="module")
def tokenizer(model_dir: Path) -> ChatTokenizer:
    return ChatTokenizer.load(model_dir)


@pytest.fixture(scope="module")
def sources(tokens: Artifact, model_dir: Path) -> Sources:
    rows = make_questions(30, seed=random.randrange(1 << 30))
    return Sources(
        validation=tokens.path("tokens/validation"),
        questions=[Question(**row) for row in rows],
        token_bytes=token_bytes(model_dir / "tokenizer.json"),
    )


def loss_benchmark(**changes: int) -> LossBenchmark:
    return load_benchmark("heldout_loss").model_copy(update=changes)  # type: ignore[return-value]


def circular() -> ChoiceBenchmark:
    benchmark = load_benchmark("docs_choice")
    assert isinstance(benchmark, ChoiceBenchmark)
    return benchmark


def nothing(prompt: Sequence[int], request: EngineRequest) -> Sequence[int]:
    return []


def test_rotations_keep_the_right_option() -> None:
    for row in make_questions(20, seed=random.randrange(1 << 30)):
        question = Question(**row)
        shown = [rotated(question, shift) for shift in range(4)]
        assert {s.options[s.gold] for s in shown} == {question.choices[question.answer]}
        assert sorted(s.gold for s in shown) == [0, 1, 2, 3]
        assert all(sorted(s.options) == sorted(question.choices) for s in shown)


def test_a_model_that_likes_one_letter_scores_no_circular_question(
    tokenizer: ChatTokenizer, sources: Sources
) -> None:
    letter = tokenizer.encode("C")

    def score(context: Sequence[int], ids: Sequence[int]) -> Sequence[float]:
        return [0.0 if list(ids) == letter else -3.0] * len(ids)

    engine = ScriptedEngine(nothing, score, vocab_size=tokenizer.vocab_size)
    samples = ChoiceMethod().draw(circular(), sources)
    rows = evaluate(engine, tokenizer, circular(), samples, model="m")
    whole, plain = ChoiceMethod().metrics(circular(), samples, rows)
    assert (whole.name, whole.estimate.mean, whole.estimate.n) == ("circular_accuracy", 0.0, 30)
    assert (plain.name, plain.estimate.mean) == ("accuracy", 0.25)


def test_circular_counts_only_whole_questions() -> None:
    """Against a count by hand over random grades."""
    rng = random.Random()
    questions = [Question(**row) for row in make_questions(40, seed=rng.randrange(1 << 30))]
    samples = [rotated(question, shift) for question in questions for shift in range(4)]
    grades = {s.id: float(rng.random() < 0.8) for s in samples}
    rows = [
        Score(benchmark="b", version=1, sample_id=s.id, model="m", prompt_hash="", output="",
              extracted="A", correct=grades[s.id])
        for s in samples
    ]  # fmt: skip
    rng.shuffle(rows)
    whole, plain = ChoiceMethod().metrics(circular(), samples, rows)
    by_hand = sum(all(grades[f"{q.id}/{shift}"] for shift in range(4)) for q in questions)
    assert whole.estimate.mean == by_hand / 40
    assert plain.estimate.mean == pytest.approx(sum(grades.values()) / 160)
    with pytest.raises(ValueError, match="1 of 160 samples have no score"):
        ChoiceMethod().metrics(circular(), samples, rows[1:])


@pytest.mark.parametrize("normalise", ["none", "tokens", "bytes"])
def test_normalising_decides_between_a_short_and_a_long_option(
    tokenizer: ChatTokenizer, normalise: str
) -> None:
    sample = ChoiceSample(id="q/0", question_id="q", question="?", options=("ab", "abcdef"), gold=1)
    benchmark = load_benchmark("docs_choice_text").model_copy(update={"normalise": normalise})
    output = json.dumps({"logprobs": [-4.0, -6.0], "tokens": [2, 2]})
    grade = ChoiceMethod().grade(tokenizer, benchmark, sample, output)  # type: ignore[arg-type]
    # -4 against -6; halves of both; -2 against -1 per byte.
    assert grade.extracted == {"none": "A", "tokens": "A", "bytes": "B"}[normalise]
    assert grade.correct == float(normalise == "bytes")


def test_windows_stay_inside_documents_and_never_overlap(sources: Sources) -> None:
    benchmark = loss_benchmark(samples=10_000, window_tokens=32, min_tokens=5)
    windows = LossMethod().draw(benchmark, sources)
    assert {w.domain for w in windows} == {"docs", "docstrings"}
    by_document: dict[tuple[str, int | None], list[tuple[int, int]]] = {}
    for window in windows:
        assert 5 <= len(window.tokens) <= 32
        place = (window.start, window.start + len(window.tokens))
        by_document.setdefault((window.domain, window.uid), []).append(place)
    for places in by_document.values():
        for (_, end), (start, _) in itertools.pairwise(sorted(places)):
            assert end <= start
    few = LossMethod().draw(loss_benchmark(samples=3, window_tokens=32, min_tokens=5), sources)
    assert len(few) == 6
    assert {w.id for w in few} <= {w.id for w in windows}


def test_loss_figures_by_hand(tokenizer: ChatTokenizer, sources: Sources, tokens: Artifact) -> None:
    counts = count_tokens(tokens.path("tokens/train"))
    benchmark = loss_benchmark(samples=8, window_tokens=24)
    windows = LossMethod().draw(benchmark, sources)
    rows = evaluate(unigram_engine(counts), tokenizer, benchmark, windows, model="unigram")
    total = [
        -math.log((counts[token] + 1) / (counts.sum() + len(counts)))
        for window in windows
        for token in window.tokens[1:]
    ]
    text_bytes = sum(
        len(tokenizer.decode([t]).encode()) if t not in tokenizer.stop_ids else 0
        for window in windows
        for t in window.tokens[1:]
    )
    metrics = {
        (m.name, m.group): m.estimate for m in LossMethod().metrics(benchmark, windows, rows)
    }
    assert metrics["nats_per_token", "all"].mean == pytest.approx(sum(total) / len(total))
    perplexity = math.exp(sum(total) / len(total))
    assert metrics["perplexity", "all"].mean == pytest.approx(perplexity)
    bits = sum(total) / math.log(2) / text_bytes
    assert metrics["bits_per_byte", "all"].mean == pytest.approx(bits)
    assert ("bits_per_byte", "docs") in metrics


def test_a_uniform_engine_has_loss_ln_vocabulary(
    tokenizer: ChatTokenizer, sources: Sources
) -> None:
    benchmark = loss_benchmark(samples=5)
    windows = LossMethod().draw(benchmark, sources)
    engine = UniformEngine(tokenizer.vocab_size)
    rows = evaluate(engine, tokenizer, benchmark, windows, model="uniform")
    mean = LossMethod().metrics(benchmark, windows, rows)[0].estimate.mean
    assert mean == pytest.approx(math.log(tokenizer.vocab_size), rel=0.06)


@pytest.mark.parametrize(
    ("output", "extracted", "correct"),
    [
        ('<tool_call>{"name": "calculator", "arguments": {"expression": "%d + %d"}}</tool_call>',
         True, 1.0),
        ('<tool_call>{"name": "calculator", "arguments": {"expression": "%d + %d0"}}</tool_call>',
         True, 0.0),
        ('<tool_call>{"name": "abacus", "arguments": {"expression": "%d + %d"}}</tool_call>',
         True, 0.0),
        ('<tool_call>{"name": "calculator", "arguments": {"expression": "%d + %d"}', False, 0.0),
        ("%d + %d is easy", False, 0.0),
    ],
)  # fmt: skip
def test_calls_are_extracted_and_graded(
    tokenizer: ChatTokenizer, sources: Sources, output: str, extracted: bool, correct: float
) -> None:
    benchmark = load_benchmark("arithmetic")
    assert isinstance(benchmark, ToolCallBenchmark)
    for sample in ToolCallMethod().draw(benchmark, sources)[:20]:
        said = output % (sample.a, sample.b) + "<|im_end|>"
        grade = ToolCallMethod().grade(tokenizer, benchmark, sample, said)
        if not (sample.b == 0 and "0}" in output):
            assert grade.correct == correct
        assert (grade.extracted is not None) == extracted


def test_cut_answers_are_counted(tokenizer: ChatTokenizer, sources: Sources) -> None:
    benchmark = load_benchmark("arithmetic").model_copy(update={"samples": 5, "max_tokens": 6})
    samples = ToolCallMethod().draw(benchmark, sources)  # type: ignore[arg-type]
    engine = oracle_engine(benchmark, samples, tokenizer)
    rows = evaluate(engine, tokenizer, benchmark, samples, model="oracle")
    assert all(row.truncated and row.correct == 0 and row.output_tokens == 6 for row in rows)


def test_refusals_become_rows(tokenizer: ChatTokenizer, sources: Sources) -> None:
    class Picky(ScriptedEngine):
        async def score(self, context_ids, continuations):  # type: ignore[no-untyped-def]
            if random.random() < 0.5:
                raise PromptTooLong("too long")
            return await super().score(context_ids, continuations)

    engine = Picky(nothing, lambda c, ids: [-1.0] * len(ids), vocab_size=tokenizer.vocab_size)
    benchmark = load_benchmark("docs_choice_text")
    samples = ChoiceMethod().draw(benchmark, sources)  # type: ignore[arg-type]
    rows = evaluate(engine, tokenizer, benchmark, samples, model="m")
    assert [row.sample_id for row in rows] == [sample.id for sample in samples]
    refused = [row for row in rows if row.error]
    assert 0 < len(refused) < len(rows)
    assert all(row.error == "PromptTooLong: too long" and row.correct == 0 for row in refused)
    again = [regrade(tokenizer, benchmark, s, r) for s, r in zip(samples, rows, strict=True)]
    assert again == rows


def test_an_engine_that_cannot_score_is_not_asked(
    tokenizer: ChatTokenizer, sources: Sources
) -> None:
    engine = UniformEngine(tokenizer.vocab_size)
    engine.capabilities = frozenset({Capability.IDS})
    benchmark = circular()
    with pytest.raises(EngineLacks, match="docs_choice: needs an engine with score"):
        evaluate(engine, tokenizer, benchmark, ChoiceMethod().draw(benchmark, sources), model="m")


def test_token_bytes_add_up_to_the_text(model_dir: Path, tokenizer: ChatTokenizer) -> None:
    table = token_bytes(model_dir / "tokenizer.json")
    assert table is not None
    for text in ("Ångström 日本 🙂", "def f(x):\n    return x", ""):
        assert table[tokenizer.encode(text)].sum() == len(text.encode())
    assert table[list(tokenizer.stop_ids)].sum() == 0


def test_what_went_wrong_is_counted_in_its_own_group(
    tokenizer: ChatTokenizer, sources: Sources
) -> None:
    benchmark = loss_benchmark(samples=4)
    windows = LossMethod().draw(benchmark, sources)
    engine = UniformEngine(tokenizer.vocab_size)
    rows = evaluate(engine, tokenizer, benchmark, windows, model="m")
    refused = next(i for i, window in enumerate(windows) if window.domain == "docs")
    rows[refused] = rows[refused].model_copy(update={"error": "PromptTooLong: x"})
    found = results_of("m", benchmark, windows, rows)
    errors = {result.group: result.errors for result in found}
    assert errors == {"all": 1, "docs": 1, "docstrings": 0}
    assert {r.group: r.n for r in found} == {"all": 7, "docs": 3, "docstrings": 4}
