"""An engine's process takes its tensors in large pages, unless it is told otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.pages import VARIABLE

OPEN_AND_ALLOCATE = """
import sys
from serving.directory import ModelError
from serving.load import load_engine
try:
    load_engine(sys.argv[1])
except ModelError:
    pass
import torch
x = torch.empty(8 << 20, dtype=torch.uint8)
inside = False
for line in open("/proc/self/smaps"):
    first, *rest = line.split()
    if not first.endswith(":"):
        start, end = (int(side, 16) for side in first.split("-"))
        inside = start <= x.data_ptr() < end
    elif inside and first == "VmFlags:":
        print("large" if "hg" in rest else "small")
"""


def linux_tells() -> bool:
    """Whether there are large pages, and a list of who asked for them."""
    smaps = Path("/proc/self/smaps")
    large = Path("/sys/kernel/mm/transparent_hugepage").exists()
    return large and smaps.exists() and "VmFlags:" in smaps.read_text()


@pytest.mark.hardware
@pytest.mark.skipif(not linux_tells(), reason="no large pages here")
@pytest.mark.parametrize(("said", "pages"), [(None, "large"), ("0", "small")])
def test_an_engines_process_asks_for_large_pages(
    tmp_path: Path, said: str | None, pages: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if said is not None:
        environment[VARIABLE] = said
    command = [sys.executable, "-c", OPEN_AND_ALLOCATE, str(tmp_path / "none")]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == pages
