"""Web pages and prose to tokens: the whole pipeline, ours and FineWeb's in datatrove.

python -m benchmarks.corpus.pipeline [MEGABYTES_OF_PROSE]

Both read the same files (the two web archives and prose in shards) with two workers, as whole
processes with their start: extraction, English, Gopher's, C4's and FineWeb's rules, MinHash of
14 bands of 8 rows, tokens by the same tokenizer. The tokenizer is trained before the clock
starts. Texts are those of INKSTONE_DATA.
"""

import gzip
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import zstandard

from benchmarks.peers import peer_python, run_peer, run_timed
from benchmarks.report import keep

RECIPE = Path(__file__).with_suffix(".yaml")
PEER = Path(__file__).parent / "peers" / "pipeline.py"
GOAL = 4.0
SHARDS = 4
NAME = "bench-pipeline"
PROSE_MEGABYTES = 40


def prose(path: Path, size: int) -> Iterator[dict[str, str]]:
    """Documents of a ``.jsonl.zst`` until ``size`` bytes of text, evenly from all of it."""
    with open(path, "rb") as raw:
        whole = sum(len(json.loads(line)["text"].encode()) for line in _lines(raw))
    every = max(1, round(whole / size))
    with open(path, "rb") as raw:
        for number, line in enumerate(_lines(raw)):
            if number % every == 0:
                yield json.loads(line)


def _lines(raw: io.BufferedReader) -> Iterator[str]:
    return io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")


def prepare(data: Path, folder: Path, size: int) -> int:
    """Lay out the input; bytes of prose."""
    (folder / "web").mkdir(parents=True)
    (folder / "prose").mkdir()
    for name in ("article_extraction", "mixed_pages"):
        shutil.copy(data / "web" / f"{name}.warc.gz", folder / "web")
    total = 0
    with ExitStack() as stack:
        files = [
            stack.enter_context(
                gzip.open(folder / "prose" / f"{i}.jsonl.gz", "wt", 1, encoding="utf-8")
            )
            for i in range(SHARDS)
        ]
        for number, row in enumerate(prose(data / "corpus" / "en_prose.jsonl.zst", size)):
            files[number % SHARDS].write(json.dumps(row) + "\n")
            total += len(row["text"].encode())
    return total


def settings(folder: Path) -> list[str]:
    """Where our runs keep what they make."""
    return ["--set", f"store={folder}/store", "--set", f"runs={folder}/runs"]


def inkstone(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run our command as a process; see ``run_timed``."""
    env = {"BENCH_INPUT": str(folder / "in")}
    return run_timed([sys.executable, "-m", "inkstone", *arguments], env=env)


def ours(folder: Path) -> dict[str, Any]:
    """Run the recipe, its tokenizer made before; seconds, and what came out."""
    found = inkstone(folder, "run", str(RECIPE), *settings(folder))
    shown = inkstone(folder, "corpus", "stats", f"{folder}/runs/{NAME}/tokens", "--json")
    whole = [shown[split] for split in ("train", "validation")]
    return {
        "seconds": found["process_seconds"],
        "tokens": sum(split["tokens"] for split in whole),
        "documents": sum(split["documents"] for split in whole),
    }


def main() -> None:
    data = Path(os.environ["INKSTONE_DATA"])
    size = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else PROSE_MEGABYTES * 10**6
    model = next(peer_python().parents[1].rglob("lid.176.ftz"))
    with tempfile.TemporaryDirectory(prefix="inkstone-bench-") as place:
        folder = Path(place)
        prose_bytes = prepare(data, folder / "in", size)
        inkstone(folder, "run", str(RECIPE), "--only", "tokenizer", *settings(folder))
        tokenizer = (folder / "runs" / NAME / "tokenizer").resolve()
        mine = ours(folder)
        files = (next(tokenizer.rglob("tokenizer.json")), model)
        theirs = run_peer(PEER, folder / "in", folder / "datatrove", *files)
    ratio = theirs["process_seconds"] / mine["seconds"]
    keep(
        "corpus-pipeline",
        what=f"web archives (697 pages) and {prose_bytes / 1e6:.0f} MB of prose to tokens, "
        "2 workers, whole processes",
        ours=round(mine["seconds"], 1),
        unit="s",
        peer="datatrove 0.10.1, its FineWeb example",
        theirs=round(theirs["process_seconds"], 1),
        ratio=round(ratio, 2),
        goal=f">= {GOAL} times as fast",
        met=ratio >= GOAL,
        our_tokens=mine["tokens"],
        their_tokens=theirs["tokens"],
        our_documents=mine["documents"],
        their_documents=theirs["documents"],
    )


if __name__ == "__main__":
    main()
