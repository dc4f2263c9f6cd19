"""Benchmarks: YAML files that name a method and its options.

A benchmark that ships lies in ``evaluation/benchmarks/NAME.yaml``; a recipe may also give
the path of its own file.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from clusters.config import ConfigError, nearest

FOLDER = Path(__file__).parent / "benchmarks"


class _Benchmark(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: int = Field(ge=1)
    """Raised by hand whenever a change makes old scores incomparable."""
    title: str
    """One line for the report."""
    samples: int = Field(gt=0)
    """Samples to draw: windows per domain, questions, or problems."""


class LossBenchmark(_Benchmark):
    """Loss on held-out text, per domain."""

    method: Literal["loss"]
    window_tokens: int = Field(256, ge=16)
    """Longest piece scored at once, in tokens."""
    min_tokens: int = Field(16, ge=2)
    """Shorter pieces are not drawn."""


class ChoiceBenchmark(_Benchmark):
    """Multiple choice by likelihood."""

    method: Literal["choice"]
    prompt: str
    """User message; ``{question}`` and, where options are listed, ``{options}``."""
    options: Literal["listed", "hidden"]
    """Whether the prompt shows the options, lettered from A."""
    answer: Literal["letter", "text"]
    """What is scored as the assistant's answer: an option's letter or its text."""
    circular: bool
    """Ask each question once per rotation of its options; right only if all are right."""
    normalise: Literal["bytes", "tokens", "none"] = "tokens"
    """What an option's log-prob is divided by before options are compared."""

    @model_validator(mode="after")
    def _consistent(self) -> "ChoiceBenchmark":
        if self.options == "hidden" and (self.circular or self.answer == "letter"):
            raise ValueError(
                "hidden options have no letters and no order: answer: text, circular: no"
            )
        if (self.options == "listed") != ("{options}" in self.prompt):
            raise ValueError("prompt must hold {options} exactly when options are listed")
        return self


class ToolCallBenchmark(_Benchmark):
    """Greedy generation, graded by the tool call it makes."""

    method: Literal["tool_call"]
    environment: Literal["arithmetic"]
    """Where the problems come from and what counts as a right call."""
    max_tokens: int = Field(gt=0)
    """Longest answer, in tokens; longer ones are cut and counted as truncated."""
    seed: int = 0
    """Of the draw of problems."""


Benchmark = Annotated[
    LossBenchmark | ChoiceBenchmark | ToolCallBenchmark, Field(discriminator="method")
]
_ADAPTER: TypeAdapter[Benchmark] = TypeAdapter(Benchmark)


def parse_benchmark(values: Any, where: str) -> Benchmark:
    """Check a benchmark's values.

    Raises:
        ConfigError: names ``where``, the key, the value and what is allowed.
    """
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        lines = [
            f"{where}: {'.'.join(str(part) for part in problem['loc']) or 'file'}: "
            f"{problem['msg']}, got {problem['input']!r}"
            for problem in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error


def benchmark_path(name: str) -> Path:
    """File of a benchmark that ships, or ``name`` itself where it ends in ``.yaml``.

    Raises:
        ConfigError: there is no such file; names the nearest.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
        raise ConfigError(
            f"benchmarks: no benchmark {name!r}{nearest(name, known)}; "
            f"there are {', '.join(known)}, or give the path of a .yaml file"
        )
    return path


def load_benchmark(name: str) -> Benchmark:
    """Read and check one benchmark.

    Raises:
        ConfigError: no such file, no YAML, or a wrong key or value.
    """
    path = benchmark_path(name)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: unreadable benchmark: {error}") from error
    return parse_benchmark(values, str(path))
