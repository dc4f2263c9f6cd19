"""Greedy generation, graded by the first tool call of the answer."""

from collections.abc import Sequence

from agents.environments.arithmetic import Problem, is_correct_call, problems
from agents.tools.calculator import calculator
from contracts.conversation import Message
from contracts.documents import VALIDATION
from contracts.engine import (
    Capability,
    Engine,
    EngineError,
    EngineRequest,
    FinishReason,
    SamplingParams,
)
from contracts.score import Score
from evaluation.benchmark import ToolCallBenchmark
from evaluation.extraction import first_call
from evaluation.methods.base import Answer, Grade, Method, Metric, by_sample, hash_ids
from evaluation.samples import ProblemSample, Sources
from evaluation.statistics import proportion
from serving.tokenizer import ChatTokenizer


class ToolCallMethod(Method[ToolCallBenchmark, ProblemSample]):
    """Asks for a sum with the calculator at hand; right is the call that adds both operands."""

    sample_type = ProblemSample
    needs = frozenset({Capability.IDS})

    def draw(self, benchmark: ToolCallBenchmark, sources: Sources) -> list[ProblemSample]:
        """Problems of the environment's validation split."""
        return [
            ProblemSample(id=p.id, question=p.question, a=p.a, b=p.b, answer=p.answer)
            for p in problems(VALIDATION, benchmark.samples, benchmark.seed)
        ]

    def prompt(
        self, tokenizer: ChatTokenizer, benchmark: ToolCallBenchmark, sample: ProblemSample
    ) -> list[int]:
        """The question as a user message, the calculator offered."""
        message = Message(role="user", content=sample.question)
        return tokenizer.render([message], [calculator.openai_schema()])

    async def ask(
        self,
        engine: Engine,
        tokenizer: ChatTokenizer,
        benchmark: ToolCallBenchmark,
        sample: ProblemSample,
    ) -> Answer:
        """Generate greedily until the assistant's turn ends."""
        prompt = self.prompt(tokenizer, benchmark, sample)
        sampling = SamplingParams(
            max_tokens=benchmark.max_tokens, stop_token_ids=tuple(tokenizer.stop_ids)
        )
        request = EngineRequest(f"{benchmark.name}/{sample.id}", tuple(prompt), sampling)
        ids: list[int] = []
        reason = None
        async for chunk in engine.submit(request):
            ids += chunk.token_ids
            reason = chunk.finish_reason or reason
            if chunk.error is not None:
                raise EngineError(chunk.error)
        if reason not in (FinishReason.STOP, FinishReason.LENGTH):
            raise EngineError(f"generation ended with {reason}")
        truncated = reason is FinishReason.LENGTH
        return Answer(tokenizer.decode(ids), hash_ids(prompt), len(prompt), len(ids), truncated)

    def grade(
        self,
        tokenizer: ChatTokenizer,
        benchmark: ToolCallBenchmark,
        sample: ProblemSample,
        output: str,
    ) -> Grade:
        """1 where the first call of the answer adds the sample's two operands."""
        call = first_call(tokenizer, output)
        if call is None:
            return Grade(None, 0.0)
        problem = Problem(sample.id, sample.a, sample.b, sample.question, sample.answer)
        right = is_correct_call(problem, call.name, call.arguments)
        return Grade(f"{call.name}({call.arguments})", float(right))

    def metrics(
        self,
        benchmark: ToolCallBenchmark,
        samples: Sequence[ProblemSample],
        rows: Sequence[Score],
    ) -> list[Metric]:
        """Share of problems answered by a right call; a guesser makes none."""
        right = sum(row.correct for _, row in by_sample(samples, rows))
        return [Metric("accuracy", proportion(round(right), len(samples)), chance=0.0)]
