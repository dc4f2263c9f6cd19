"""Documents in Parquet to a token store, beside raw ``tokenizers`` over the texts in memory.

python -m benchmarks.corpus.tokenising [MEGABYTES]

Ours is the whole path of one work unit: Parquet, Arrow, encoding, u16, checksums, files. Theirs
is ``encode_batch_fast`` over the same texts in lists of 256, ids never looked at. Both run on one
thread, alternately, and the best of each counts; then ours as two processes beside theirs on two
threads, which is how the stage runs on two cores.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import zstandard

from benchmarks.report import keep

GOAL = 0.9
MEGABYTES = 24
ROUNDS = 3
THEIR_BATCH = 256


def texts_of(data: Path, size: int) -> list[dict[str, str]]:
    """Half English, half Chinese documents, ``size`` bytes in all."""
    rows = []
    for name in ("en_prose", "zh_prose"):
        left = size // 2
        with open(data / "corpus" / f"{name}.jsonl.zst", "rb") as raw:
            stream = zstandard.ZstdDecompressor().stream_reader(raw)
            for line in io.TextIOWrapper(stream, encoding="utf-8"):
                row = json.loads(line)
                left -= len(row["text"].encode())
                if left < 0:
                    break
                rows.append({"text": row["text"], "source": name})
    return rows


def write_parts(rows: list[dict[str, str]], folder: Path) -> None:
    """Two parts of a corpus."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part in range(2):
        table = pa.table(
            {
                "uid": pa.array(range(part, len(rows), 2), pa.uint64()),
                "split": pa.array(["train"] * len(rows[part::2])),
                "source": [row["source"] for row in rows[part::2]],
                "text": [row["text"] for row in rows[part::2]],
            }
        )
        pq.write_table(
            table, folder / f"part-{part}.parquet", compression="zstd", row_group_size=256
        )


def ours(folder: Path, parts: list[Path], place: str) -> float:
    """Seconds of one work unit over ``parts``."""
    from clusters.units import Unit
    from corpus.tokenise import groups_of, write_shards

    (group,) = groups_of(parts, 1, ["en_prose", "zh_prose"])
    unit = Unit("tokenise/group", folder / "work", place)
    started = time.perf_counter()
    write_shards(unit, group, folder / "tokenizer")
    return time.perf_counter() - started


def theirs(folder: Path, texts: list[str]) -> float:
    """Seconds of raw encoding, the loading of the tokenizer included as in ours."""
    from corpus.tokenizer import load_backend

    started = time.perf_counter()
    tokenizer = load_backend(folder / "tokenizer")
    for start in range(0, len(texts), THEIR_BATCH):
        tokenizer.encode_batch_fast(texts[start : start + THEIR_BATCH])
    return time.perf_counter() - started


def child(command: str, folder: Path) -> None:
    """One measurement in a process of its own; prints seconds."""
    parts = sorted(folder.glob("part-*.parquet"))
    if command == "theirs":
        import pyarrow.parquet as pq

        print(theirs(folder, [t for p in parts for t in pq.read_table(p)["text"].to_pylist()]))
    elif command == "ours":
        print(ours(folder, parts, "all"))
    else:
        print(ours(folder, [folder / command], command))


def timed(folder: Path, commands: list[str], threads: int) -> float:
    """Seconds until the slowest of the processes that ran at once has done its work."""
    env = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    env["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.corpus.tokenising", command, str(folder)],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    seconds = [float(process.communicate()[0].strip()) for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a measurement failed")
    return max(seconds)


def best(measure: Callable[[], float], other: Callable[[], float]) -> tuple[float, float]:
    """The least of ``ROUNDS`` of each, run in turns."""
    pairs = [(measure(), other()) for _ in range(ROUNDS)]
    return min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)


def main() -> None:
    if len(sys.argv) == 3:
        child(sys.argv[1], Path(sys.argv[2]))
        return
    from corpus.tokenizer import save_tokenizer, train_tokenizer

    size = int(float(sys.argv[1] if len(sys.argv) > 1 else MEGABYTES) * 1e6)
    rows = texts_of(Path(os.environ["INKSTONE_DATA"]), size)
    megabytes = sum(len(row["text"].encode()) for row in rows) / 1e6
    with tempfile.TemporaryDirectory(prefix="inkstone-bench-") as place:
        folder = Path(place)
        write_parts(rows, folder)
        tokenizer = train_tokenizer([row["text"] for row in rows[::4]], 32_000)
        save_tokenizer(tokenizer, folder / "tokenizer", "chatml", 2048)
        one = best(lambda: timed(folder, ["ours"], 1), lambda: timed(folder, ["theirs"], 1))
        halves = ["part-0.parquet", "part-1.parquet"]
        two = best(lambda: timed(folder, halves, 1), lambda: timed(folder, ["theirs"], 2))
    ratio = one[1] / one[0]
    keep(
        "corpus-tokenising",
        what=f"{megabytes:.0f} MB English and Chinese, Parquet to token store, 1 thread",
        ours=round(megabytes / one[0], 2),
        unit="MB/s",
        peer="tokenizers encode_batch_fast of texts in memory",
        theirs=round(megabytes / one[1], 2),
        ratio=round(ratio, 3),
        goal=f">= {GOAL} of its rate",
        met=ratio >= GOAL,
        two_processes_MBps=round(megabytes / two[0], 2),
        their_two_threads_MBps=round(megabytes / two[1], 2),
        two_ratio=round(two[1] / two[0], 3),
    )


if __name__ == "__main__":
    main()
