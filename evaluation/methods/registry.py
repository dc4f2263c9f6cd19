"""Methods by the name that benchmark files use."""

from typing import Any

from evaluation.benchmark import Benchmark
from evaluation.methods.base import Method
from evaluation.methods.choice import ChoiceMethod
from evaluation.methods.loss import LossMethod
from evaluation.methods.tool_call import ToolCallMethod

METHODS: dict[str, Method[Any, Any]] = {
    "loss": LossMethod(),
    "choice": ChoiceMethod(),
    "tool_call": ToolCallMethod(),
}


def method_of(benchmark: Benchmark) -> Method[Any, Any]:
    """The method a benchmark names."""
    return METHODS[benchmark.method]
