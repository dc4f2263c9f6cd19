"""Near-deduplication of English prose, as whole processes, beside datatrove's.

python -m benchmarks.corpus.near_dedup [TIMES [MEGABYTES]]

TIMES 1 (default) reads ``corpus/en_prose``, 4 reads four times the text: the same and mutated
copies (benchmarks/corpus/mutate.py). Both sides get the same JSON Lines shards, 14 bands of 8
hashes over word 5-grams, two workers, and write what stays. Recall is measured on pairs of an
original and its copy whose exact Jaccard similarity is at least .8: a pair is found where not
both stay. The core-hours per TB are the measured ones times two cores, nothing else.
"""

import gzip
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.corpus.mutate import copies, documents, write_shards
from benchmarks.corpus.near_dedup_ours import kept_ids
from benchmarks.peers import run_peer, run_timed
from benchmarks.report import keep
from clusters.artifact import Artifact

PEER = Path(__file__).parent / "peers" / "near_dedup.py"
GOALS = {1: 6.0, 4: 12.0}
SIMILAR = 0.8
SAMPLE = 3000
DATA_JUICER = "640-720 core-hours per TB (published)"


def shingles(text: str) -> set[tuple[str, ...]]:
    """Word 5-grams, as both sides see them: lower case, no punctuation."""
    words = "".join(c if c.isalnum() or c == "_" else " " for c in text.lower()).split()
    return {tuple(words[i : i + 5]) for i in range(max(len(words) - 4, 1))}


def similar_pairs(folder: Path, sample: int = SAMPLE) -> list[tuple[str, str]]:
    """Ids of originals and copies that are as similar as asked for, of a random sample."""
    rows = [json.loads(line) for path in sorted(folder.iterdir()) for line in path.open()]
    texts = {row["id"]: row["text"] for row in rows}
    copied = sorted(id_ for id_ in texts if not id_.startswith("0/"))
    found = []
    for copy in random.Random(0).sample(copied, min(sample, len(copied))):
        original = "0/" + copy.split("/")[1]
        one, other = shingles(texts[original]), shingles(texts[copy])
        if len(one & other) >= SIMILAR * len(one | other):
            found.append((original, copy))
    return found


def recall(pairs: list[tuple[str, str]], kept: set[str]) -> float | None:
    """Share of the pairs of which at most one stayed; None without any pair."""
    if not pairs:
        return None
    return sum(not (one in kept and other in kept) for one, other in pairs) / len(pairs)


def _theirs(folder: Path) -> set[str]:
    return {
        json.loads(line)["id"]
        for path in folder.glob("*.jsonl.gz")
        for line in gzip.open(path, "rt", encoding="utf-8")
    }


def _ours(source: Path, store: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.corpus.near_dedup_ours", str(source), str(store)]
    return run_timed(command)


def main(times: int = 1, megabytes: int | None = None) -> None:
    """Measure one size."""
    data = Path(os.environ["INKSTONE_DATA"]) / "corpus" / "en_prose.jsonl.zst"
    folder = Path(tempfile.mkdtemp(prefix="near-dedup-"))
    source = folder / "source"
    rows = documents(data, megabytes and megabytes * 1_000_000)
    size = write_shards(copies(rows, times, 0), source, 16 << 20)
    pairs = similar_pairs(source)
    _ours(source, folder / "warm")  # compiles, and reads the files into the page cache
    ours = _ours(source, folder / "store")
    theirs = run_peer(PEER, source, folder / "out")
    kept = kept_ids(Artifact.open(Path(ours["directory"])))
    left = _theirs(Path(theirs["kept"]))
    ratio = theirs["process_seconds"] / ours["process_seconds"]
    found = recall(pairs, kept), recall(pairs, left)
    keep(
        f"corpus-near-dedup-{times}x",
        what=f"near-dedup of {size / 1e6:.0f} MB of English prose ({times} times), "
        "14 x 8, word 5-grams, whole process, 2 workers",
        ours=round(ours["process_seconds"], 1),
        unit="s",
        peer="datatrove 0.10.1",
        theirs=round(theirs["process_seconds"], 1),
        ratio=round(ratio, 1),
        goal=f">= {GOALS.get(times, 6.0):g}, recall not lower",
        met=ratio >= GOALS.get(times, 6.0) and (found[0] or 0.0) >= (found[1] or 0.0),
        recall_ours=found[0],
        recall_theirs=found[1],
        similar_pairs=len(pairs),
        kept_ours=len(kept),
        kept_theirs=len(left),
        documents=times * len(rows),
        bytes=size,
        core_hours_per_tb=round(2 * ours["process_seconds"] / 3600 / (size / 1e12), 1),
        data_juicer=DATA_JUICER,
    )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
