"""Triton's compiler takes the kernels, for chips of two generations."""

import json
import os
import subprocess
import sys

CHIPS = ("80", "90")


def test_every_kernel_compiles() -> None:
    # In a process of its own: here Triton interprets.
    command = [sys.executable, "-m", "tests.serving.gpu.compile_kernels", *CHIPS]
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    names = {each["kernel"] for each in found}
    assert len(names) >= 10
    assert len(found) == len(names) * len(CHIPS)
    for each in found:
        assert each["bytes"] > 0
        # No register is kept in memory; keys, values and weights are read 16 bytes at a time.
        assert each["spilled"] == 0, each
        if each["kernel"].startswith(("decode", "int4")):
            assert each["wide_loads"], each
        assert each["shared"] <= 96 << 10, each
        if each["kernel"] in ("decode", "decode int8", "int4 rows"):
            assert each["tensor_cores"], each
