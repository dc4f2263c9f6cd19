"""How time and memory grow with the corpus: 1, 4 and 16 times the text, mutated copies.

python -m benchmarks.corpus.growth [MEGABYTES]

MEGABYTES (default 50) is the text at 1 time. Each size is one whole process with two workers
that reads, sketches, clusters and writes; memory is the sum of the proportional set sizes (PSS)
of its whole process tree, Ray's own processes included, sampled twice a second. The time that a
corpus of 50 documents takes is the start; it is taken off before times per GB are compared.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.corpus.mutate import copies, documents, write_shards
from benchmarks.corpus.near_dedup_ours import config
from benchmarks.peers import ROOT
from benchmarks.report import keep
from corpus.memory import bound

TIMES = (1, 4, 16)
MOST_SLOWER = 1.2
MOST_LARGER = 1.15
MOST_BYTES = 4_000_000_000
SHARD_BYTES = 16 << 20
_SAMPLE_SECONDS = 0.5


def tree_pss(process: psutil.Process) -> int:
    """Bytes of the process and all below it, shared pages divided among those that share."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def watched(source: Path, store: Path) -> tuple[float, int]:
    """Run our side; wall seconds of the whole process, peak bytes of its tree.

    Raises:
        RuntimeError: it failed; holds the end of what it said.
    """
    command = [sys.executable, "-m", "benchmarks.corpus.near_dedup_ours", str(source), str(store)]
    started, peak = time.perf_counter(), 0
    log = store.with_suffix(".log")
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
        while process.poll() is None:
            try:
                peak = max(peak, tree_pss(psutil.Process(process.pid)))
            except psutil.NoSuchProcess:
                break
            time.sleep(_SAMPLE_SECONDS)
    seconds = time.perf_counter() - started
    if process.wait():
        raise RuntimeError(f"{command}: exit {process.returncode}\n{log.read_text()[-3000:]}")
    return seconds, peak


def main(megabytes: int = 50) -> None:
    """Measure every size and keep the result."""
    data = Path(os.environ["INKSTONE_DATA"]) / "corpus" / "en_prose.jsonl.zst"
    folder = Path(tempfile.mkdtemp(prefix="growth-"))
    rows = documents(data, megabytes * 1_000_000)
    warm = folder / "warm"
    write_shards(iter(copies(rows[:50], 1, 0)), warm, SHARD_BYTES)
    watched(warm, folder / "warm-store")  # compiles
    start, _ = watched(warm, folder / "start-store")
    limit = bound(config(warm), 2)
    sizes, seconds, peaks = {}, {}, {}
    for times in TIMES:
        source, store = folder / str(times), folder / f"{times}-store"
        sizes[times] = write_shards(copies(rows, times, 0), source, SHARD_BYTES)
        seconds[times], peaks[times] = watched(source, store)
        print(json.dumps({"times": times, "bytes": sizes[times], "seconds": seconds[times],
                          "peak": peaks[times]}), flush=True)  # fmt: skip
        shutil.rmtree(source)
        shutil.rmtree(store)
    per_gb = {times: (seconds[times] - start) / (sizes[times] / 1e9) for times in TIMES}
    slower = per_gb[16] / per_gb[1]
    larger = peaks[16] / peaks[4]
    keep(
        "corpus-growth",
        what=f"deduplicating {sizes[1] / 1e6:.0f} MB of prose, and 4 and 16 times as much "
        "(mutated copies), 2 workers: seconds per GB at 16 times, without the start",
        ours=round(per_gb[16], 1),
        unit="s/GB",
        peer="itself at 1 time",
        theirs=round(per_gb[1], 1),
        ratio=round(slower, 2),
        goal="time per GB <= 1.2 times; peak at 16 <= 1.15 times that at 4, within the bound, "
        "<= 4 GB",
        met=slower <= MOST_SLOWER
        and larger <= MOST_LARGER
        and max(peaks.values()) <= min(limit, MOST_BYTES),
        seconds_per_gb={str(t): round(v, 1) for t, v in per_gb.items()},
        start_seconds=round(start, 1),
        whole_seconds={str(t): round(v, 1) for t, v in seconds.items()},
        peak_bytes={str(t): p for t, p in peaks.items()},
        peak_16_to_4=round(larger, 3),
        bound_bytes=limit,
    )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
