"""Time and memory of the demo, and of the same command when everything is there.

python -m benchmarks.clusters.demo
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.report import keep

RECIPE = Path(__file__).parents[2] / "recipes" / "demo.yaml"
GOAL_SECONDS, GOAL_AGAIN_SECONDS, GOAL_BYTES = 720, 20, 8 << 30


def resident(process: psutil.Process) -> int:
    """Bytes of a process and all below it; shared pages count once (PSS)."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def measure(command: list[str]) -> tuple[float, int]:
    """(seconds, peak bytes) of one run."""
    started, peak = time.monotonic(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sys.stderr) as child:
        process = psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(1.0)
    if child.returncode:
        sys.exit(f"the run failed with {child.returncode}")
    return time.monotonic() - started, peak


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="inkstone-bench-") as folder:
        command = [sys.executable, "-m", "inkstone", "run", str(RECIPE)]
        command += ["--set", f"store={folder}/store", "--set", f"runs={folder}/runs"]
        seconds, peak = measure(command)
        again, _ = measure(command)
    nobody = {"peer": None, "theirs": None, "ratio": None}
    keep(
        "clusters-demo-time",
        what="`inkstone run recipes/demo.yaml` from an empty store",
        ours=round(seconds, 1),
        unit="s",
        goal=f"<= {GOAL_SECONDS} s",
        met=seconds <= GOAL_SECONDS,
        **nobody,
    )
    keep(
        "clusters-demo-again",
        what="the same command when everything is there",
        ours=round(again, 1),
        unit="s",
        goal=f"<= {GOAL_AGAIN_SECONDS} s",
        met=again <= GOAL_AGAIN_SECONDS,
        **nobody,
    )
    keep(
        "clusters-demo-memory",
        what="peak memory of all processes of the demo (PSS)",
        ours=round(peak / 2**30, 2),
        unit="GiB",
        goal="< 8 GiB",
        met=peak < GOAL_BYTES,
        **nobody,
    )


if __name__ == "__main__":
    main()
