"""Benchmark files: those that ship are right, wrong ones are told what is wrong."""

from pathlib import Path

import pytest

from clusters.config import ConfigError
from evaluation.benchmark import FOLDER, load_benchmark
from evaluation.methods.registry import method_of


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_shipped_benchmarks_load(name: str) -> None:
    benchmark = load_benchmark(name)
    assert benchmark.name == name
    assert method_of(benchmark)


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'arithmetic'"):
        load_benchmark("aritmetic")


CHOICE = """\
name: mine
version: 1
title: Mine
method: choice
samples: 5
prompt: "{question}"
options: hidden
answer: text
circular: false
"""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("method: choice", "method: guess"), "guess"),
        (("samples: 5", "samples: 0"), "samples: Input should be greater than 0, got 0"),
        (("samples: 5", "samples: 5\nsample: 4"), "sample: Extra inputs"),
        (("circular: false", "circular: true"), "hidden options"),
        (("answer: text", "answer: letter"), "hidden options"),
        (('"{question}"', '"{question} {options}"'), "exactly when options are listed"),
        (("name: mine", "name: [mine"), "unreadable benchmark"),
        (("name: mine", "name: My Own"), "name: String should match"),
    ],
)
def test_wrong_files_are_told_what_is_wrong(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(CHOICE)
    assert load_benchmark(str(path)).samples == 5
    path.write_text(CHOICE.replace(*change))
    with pytest.raises(ConfigError, match=complaint) as error:
        load_benchmark(str(path))
    assert str(path) in str(error.value)
