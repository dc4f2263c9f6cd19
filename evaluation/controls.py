"""Two controls that every accuracy is measured beside, and what they must get.

An oracle, told the right answers but not how they are asked for, must get all of them:
rendering, rotations, extraction and grading then lose none. A uniform engine must get
chance within two standard errors of the benchmark at its size: nothing then gives
answers away. Its share is taken over ``DRAWS`` passes with seeds of their own, all of
them counted, so that a fair guesser is four of its own standard errors from that bound.
"""

import re
from collections.abc import Callable, Sequence
from math import fsum, isclose

import numpy as np

from clusters.stage import StageError
from contracts.engine import Engine, EngineRequest
from contracts.score import Score
from contracts.unigram import unigram_log_probs
from evaluation.benchmark import Benchmark, ChoiceBenchmark
from evaluation.methods.base import Metric
from evaluation.methods.registry import method_of
from evaluation.samples import ChoiceSample, ProblemSample, Sample
from evaluation.statistics import chance_error, outside_probability
from evaluation.summary import Control
from serving.testing import ScriptedEngine
from serving.tokenizer import ChatTokenizer

ERRORS_ALLOWED = 2.0
"""How far the uniform engine may be from chance, in standard errors of one pass."""
DRAWS = 4
"""Passes of the uniform engine that its share is taken over."""

_WRONG = -20.0
_NUMBER = re.compile(r"\d+")


class ControlFailed(StageError):
    """A control did not get what it must: no score of this run can be trusted."""


def oracle_engine(
    benchmark: Benchmark, samples: Sequence[Sample], tokenizer: ChatTokenizer
) -> Engine:
    """An engine that reads the question in its prompt and knows the answer to it."""
    if isinstance(benchmark, ChoiceBenchmark):
        right = {s.question: s.options[s.gold] for s in samples if isinstance(s, ChoiceSample)}
        return ScriptedEngine(
            _refuse, _choice_oracle(right, tokenizer), vocab_size=tokenizer.vocab_size
        )
    questions = [s.question for s in samples if isinstance(s, ProblemSample)]
    return ScriptedEngine(
        _call_oracle(questions, tokenizer), _no_score, vocab_size=tokenizer.vocab_size
    )


def unigram_engine(counts: np.ndarray) -> Engine:
    """Scores each token by its training frequency, add-one smoothed: (c + 1) / (N + V)."""
    logprobs = unigram_log_probs(counts)

    def score(context: Sequence[int], ids: Sequence[int]) -> Sequence[float]:
        scored = ids if context else ids[1:]
        return [float(value) for value in logprobs[list(scored)]]

    return ScriptedEngine(_refuse, score, vocab_size=len(counts))


def uniform_controls(
    benchmark: Benchmark, samples: Sequence[Sample], passes: Sequence[Sequence[Score]]
) -> list[Control]:
    """What a uniform engine got over all its passes, per metric, beside chance.

    Args:
        passes: the rows of each pass over ``samples``.
    """
    metrics = [method_of(benchmark).metrics(benchmark, samples, rows) for rows in passes]
    found = []
    for same in zip(*metrics, strict=True):
        chance, n = _chance(same[0]), _asked(same[0], samples)
        mean = fsum(metric.estimate.mean for metric in same) / len(same)
        tolerance = ERRORS_ALLOWED * chance_error(chance, n)
        found.append(
            Control(
                benchmark=benchmark.name,
                engine="uniform",
                metric=same[0].name,
                n=n * len(same),
                mean=mean,
                expected=chance,
                tolerance=tolerance,
                draws=len(same),
                standard_error=chance_error(chance, n * len(same)),
                false_alarm=outside_probability(chance, n * len(same), tolerance),
                held=abs(mean - chance) <= tolerance,
            )
        )
    return found


def oracle_controls(
    benchmark: Benchmark, samples: Sequence[Sample], rows: Sequence[Score]
) -> list[Control]:
    """What the oracle got, per metric; it must be everything."""
    return [
        Control(
            benchmark=benchmark.name,
            engine="oracle",
            metric=metric.name,
            n=metric.estimate.n,
            mean=metric.estimate.mean,
            expected=1.0,
            tolerance=0.0,
            held=isclose(metric.estimate.mean, 1.0, abs_tol=1e-12),
        )
        for metric in method_of(benchmark).metrics(benchmark, samples, rows)
    ]


def require(controls: Sequence[Control]) -> None:
    """Stop where a control did not hold.

    Raises:
        ControlFailed: names each failure and what to look at.
    """
    failed = [control for control in controls if not control.held]
    if not failed:
        return
    hints = {
        "oracle": "right answers are lost in rendering, truncation, extraction or grading",
        "uniform": "the questions or the scoring give answers away, or hide them",
    }
    lines = [
        f"{c.benchmark}: the {c.engine} engine got {c.metric} {c.mean:.4f} over {c.n}, "
        f"must be {c.expected:.4f} +- {c.tolerance:.4f}: {hints[c.engine]}"
        for c in failed
    ]
    raise ControlFailed("\n".join(lines))


def _chance(metric: Metric) -> float:
    if metric.chance is None:
        raise ValueError(f"metric {metric.name} has no chance level to hold a guesser to")
    return metric.chance


def _asked(metric: Metric, samples: Sequence[Sample]) -> int:
    """Independent guesses behind a metric: a guesser guesses every rotation anew."""
    return len(samples) if metric.name == "accuracy" else metric.estimate.n


def _choice_oracle(
    right: dict[str, str], tokenizer: ChatTokenizer
) -> Callable[[Sequence[int], Sequence[int]], Sequence[float]]:
    def score(context: Sequence[int], ids: Sequence[int]) -> Sequence[float]:
        prompt, answer = tokenizer.decode(context), tokenizer.decode(ids)
        gold = right[_question_in(prompt, right)]
        known = answer == gold or f"{answer}. {gold}" in prompt.splitlines()
        return [0.0 if known else _WRONG] * len(ids)

    return score


def _call_oracle(
    questions: Sequence[str], tokenizer: ChatTokenizer
) -> Callable[[Sequence[int], EngineRequest], Sequence[int]]:
    def generate(prompt_ids: Sequence[int], request: EngineRequest) -> Sequence[int]:
        question = _question_in(tokenizer.decode(prompt_ids), questions)
        a, b = _NUMBER.findall(question)
        call = f'{{"name": "calculator", "arguments": {{"expression": "{a} + {b}"}}}}'
        ids = tokenizer.encode(f"<tool_call>{call}</tool_call>")
        return [*ids, tokenizer.stop_ids[0]]

    return generate


def _question_in(prompt: str, questions: "Sequence[str] | dict[str, str]") -> str:
    """The longest question that stands in the prompt."""
    return max((question for question in questions if question in prompt), key=len)


def _refuse(prompt_ids: Sequence[int], request: EngineRequest) -> Sequence[int]:
    raise NotImplementedError("this engine only scores")


def _no_score(context: Sequence[int], ids: Sequence[int]) -> Sequence[float]:
    raise NotImplementedError("this engine only generates")
