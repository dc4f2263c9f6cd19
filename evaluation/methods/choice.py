"""Multiple choice by likelihood, plain or circular.

CircularEval (MMBench, arXiv:2307.06281 section 4.3): a question of N options is asked N
times, its options rotated by one each time, and counts as right only if every answer is.
A model that likes one letter scores 0, a guesser N to the power of -N.
"""

import heapq
import json
import math
from collections.abc import Sequence

from contracts.conversation import Message
from contracts.engine import Capability, Engine, EngineError
from contracts.question import Question
from contracts.score import Score
from evaluation.benchmark import ChoiceBenchmark
from evaluation.methods.base import Answer, Grade, Method, Metric, by_sample, hash_ids
from evaluation.samples import ChoiceSample, Sources, draw_key
from evaluation.statistics import clustered_mean, proportion
from serving.tokenizer import ChatTokenizer

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class ChoiceMethod(Method[ChoiceBenchmark, ChoiceSample]):
    """Scores every option as the assistant's answer and takes the likeliest."""

    sample_type = ChoiceSample
    needs = frozenset({Capability.SCORE})

    def draw(self, benchmark: ChoiceBenchmark, sources: Sources) -> list[ChoiceSample]:
        """``benchmark.samples`` questions, each once or once per rotation."""
        keyed = {draw_key("question", question.id): question for question in sources.questions}
        drawn = [keyed[key] for key in heapq.nsmallest(benchmark.samples, keyed)]
        return [
            rotated(question, shift)
            for question in drawn
            for shift in range(len(question.choices) if benchmark.circular else 1)
        ]

    def prompt(
        self, tokenizer: ChatTokenizer, benchmark: ChoiceBenchmark, sample: ChoiceSample
    ) -> list[int]:
        """The question as a user message, ready for the assistant's answer."""
        text = benchmark.prompt.replace("{question}", sample.question)
        lines = (f"{LETTERS[i]}. {option}" for i, option in enumerate(sample.options))
        text = text.replace("{options}", "\n".join(lines))
        return tokenizer.render([Message(role="user", content=text)], [])

    async def ask(
        self,
        engine: Engine,
        tokenizer: ChatTokenizer,
        benchmark: ChoiceBenchmark,
        sample: ChoiceSample,
    ) -> Answer:
        """Log-prob of every option, as JSON, one list entry per option."""
        context = self.prompt(tokenizer, benchmark, sample)
        answers = answer_ids(tokenizer, benchmark, sample)
        scored = await engine.score(context, answers)
        logprobs = [one.total for one in scored]
        if not all(math.isfinite(value) for value in logprobs):
            raise EngineError(f"log-probs that are no numbers: {logprobs}")
        output = json.dumps({"logprobs": logprobs, "tokens": [len(ids) for ids in answers]})
        return Answer(
            output, hash_ids(context, *answers), len(context), sum(len(ids) for ids in answers)
        )

    def grade(
        self,
        tokenizer: ChatTokenizer,
        benchmark: ChoiceBenchmark,
        sample: ChoiceSample,
        output: str,
    ) -> Grade:
        """The likeliest option after normalising; of equals the first."""
        said = json.loads(output)
        sizes = {
            "none": [1] * len(sample.options),
            "tokens": said["tokens"],
            "bytes": [len(text.encode()) for text in answer_texts(benchmark, sample)],
        }[benchmark.normalise]
        values = [logprob / size for logprob, size in zip(said["logprobs"], sizes, strict=True)]
        chosen = values.index(max(values))
        return Grade(LETTERS[chosen], float(chosen == sample.gold))

    def metrics(
        self, benchmark: ChoiceBenchmark, samples: Sequence[ChoiceSample], rows: Sequence[Score]
    ) -> list[Metric]:
        """Accuracy, and before it circular accuracy where questions were rotated."""
        rotations: dict[str, list[float]] = {}
        for sample, row in by_sample(samples, rows):
            rotations.setdefault(sample.question_id, []).append(row.correct)
        options = len(samples[0].options)
        if not benchmark.circular:
            right = sum(answers[0] for answers in rotations.values())
            return [Metric("accuracy", proportion(round(right), len(rows)), chance=1 / options)]
        whole = sum(all(answers) for answers in rotations.values())
        chance = (1 / options) ** options
        # The rotations of one question are not independent: the plain share counts questions.
        asked = [(name, value) for name, answers in rotations.items() for value in answers]
        names, values = zip(*asked, strict=True)
        plain = clustered_mean(values, [1.0] * len(values), names)
        return [
            Metric("circular_accuracy", proportion(whole, len(rotations)), chance=chance),
            Metric("accuracy", plain, chance=1 / options),
        ]


def rotated(question: Question, shift: int) -> ChoiceSample:
    """The question with its options moved ``shift`` places to the front, cyclically."""
    options = tuple(question.choices[shift:]) + tuple(question.choices[:shift])
    return ChoiceSample(
        id=f"{question.id}/{shift}",
        uid=question.uid,
        question_id=question.id,
        question=question.question,
        options=options,
        gold=(question.answer - shift) % len(options),
    )


def answer_texts(benchmark: ChoiceBenchmark, sample: ChoiceSample) -> list[str]:
    """What the assistant would write for each option."""
    if benchmark.answer == "letter":
        return list(LETTERS[: len(sample.options)])
    return list(sample.options)


def answer_ids(
    tokenizer: ChatTokenizer, benchmark: ChoiceBenchmark, sample: ChoiceSample
) -> list[list[int]]:
    """Token ids of each option's answer."""
    return [tokenizer.encode(text) for text in answer_texts(benchmark, sample)]
