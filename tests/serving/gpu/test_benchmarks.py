"""The benchmarks for a GPU run here too, small, without Ray, DeepSpeed and what serves."""

import subprocess
import sys

import pytest

RUN = """
import runpy, sys
for name in ("ray", "deepspeed", "bitsandbytes", "fastapi", "uvicorn", "httpx", "openai",
             "pandas", "resiliparse", "trafilatura"):
    sys.modules[name] = None  # importing it fails
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def run(module: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", RUN, f"benchmarks.gpu.{module}", "--small", "--device", "cpu"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("engine", ("--repeats", "1"), ["roofline: ", "batch: ", "int4: "]),
        ("kernels", ("--repeats", "1"), ["attention: ", "int4: ", "int4: "]),
        ("long_context", ("--length", "3000"), ["prefill "]),
    ],
)
def test_a_try_on_a_cpu(module: str, arguments: tuple[str, ...], said: list[str]) -> None:
    lines = [line for line in run(module, *arguments) if line]
    assert [
        line[: len(start)] for line, start in zip(lines[-len(said) :], said, strict=True)
    ] == said
