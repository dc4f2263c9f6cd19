"""Where kernels are used."""

import subprocess
import sys

import pytest
import torch

from serving.gpu import ready
from serving.gpu.ready import interpreting, multiprocessors, runs_kernels

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_on_a_gpu_and_nowhere_else() -> None:
    assert runs_kernels(GPU)
    assert not runs_kernels(CPU)
    with interpreting():
        assert runs_kernels(CPU)
    assert not runs_kernels(CPU)
    assert multiprocessors(CPU) == 1


def test_without_triton_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "has_triton", lambda: False)
    assert not runs_kernels(GPU)
    with interpreting():
        assert not runs_kernels(CPU)


def test_the_interpreter_must_be_on() -> None:
    code = "from serving.gpu.ready import interpreting\nwith interpreting(): pass"
    environment = {"TRITON_INTERPRET": "0", "PATH": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "RuntimeError: Triton's interpreter is off; set TRITON_INTERPRET=1" in done.stderr


def test_the_engine_imports_with_triton_absent() -> None:
    code = "import sys; sys.modules['triton'] = None; import serving.engine.engine; print('there')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "there\n", done.stderr
