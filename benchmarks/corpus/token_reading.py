"""Random global batches from a token store beside memcpy, litdata and MosaicML's MDS.

python -m benchmarks.corpus.token_reading [MILLION_TOKENS]

A batch is 512 rows of 2,048 u16 inputs (ours has one token more, the last target), one worker,
files in the page cache. memcpy is the strict one: numpy copies an array of the same size, always
the same and so in the processor's cache; the copy of as many contiguous bytes from a random place
of the store stands beside it. The peers hold the same windows as fixed-size samples, written by
their own writers without compression, and give the same rows in a random order into one array.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.peers import run_peer
from benchmarks.report import keep

PEERS = Path(__file__).parent / "peers"
ROWS, LENGTH = 512, 2048
BATCHES, WARM = 96, 32
GOAL_COPY, GOAL_PEERS = 0.4, 5.0
DOMAINS, SHARDS = 4, 12


def write_store(root: Path, tokens: int) -> None:
    """A store of random ids in several domains and shards, documents of 100 to 2,000 tokens."""
    from corpus.token_store import TokenStoreWriter

    rng = np.random.default_rng(7)
    with TokenStoreWriter(root, tokenizer_blake3="none", vocab_size=32_000, eos_id=0) as writer:
        for shard in range(SHARDS):
            writer.start_shard(f"domain-{shard % DOMAINS}")
            left = tokens // SHARDS
            while left > 0:
                size = int(rng.integers(100, 2000))
                writer.add(int(rng.integers(1 << 62)), rng.integers(1, 32_000, size))
                left -= size + 1


def seconds(work: Callable[[int], object]) -> float:
    """Median seconds of ``work(i)`` after some to warm up."""
    taken = []
    for index in range(WARM + BATCHES):
        started = time.perf_counter()
        work(index)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[WARM:])


def mean_seconds(work: Callable[[int], object]) -> float:
    """Mean seconds of ``work(i)``: what is done once for many batches counts too."""
    for index in range(WARM):
        work(index)
    started = time.perf_counter()
    for index in range(WARM, WARM + BATCHES):
        work(index)
    return (time.perf_counter() - started) / BATCHES


def main() -> None:
    from corpus.token_store import Sampler, TokenStore

    tokens = int(float(sys.argv[1] if len(sys.argv) > 1 else 256) * 1e6)
    with tempfile.TemporaryDirectory(prefix="inkstone-bench-") as place:
        root = Path(place) / "store"
        write_store(root, tokens)
        store = TokenStore.open(root)
        sampler = Sampler(store, LENGTH, seed=1)
        first = sampler.batch(0, ROWS).tokens
        target = np.empty_like(first)
        shard = max(store.arrays, key=len)
        starts = np.random.default_rng().integers(0, len(shard) - first.size, 4096)
        rounds = [
            (
                mean_seconds(lambda i: sampler.batch(i * ROWS, ROWS)),
                seconds(lambda i: np.copyto(target, first)),
                seconds(lambda i: np.copyto(target.reshape(-1), shard[starts[i] :][: first.size])),
            )
            for _ in range(5)
        ]
        ours, copy, far_copy = (min(column) for column in zip(*rounds, strict=True))
        peers = {}
        for name in ("litdata", "mds"):
            script = PEERS / f"token_reading_{name}.py"
            arguments = (root, Path(place) / name, ROWS, LENGTH, BATCHES)
            peers[name] = run_peer(script, *arguments)["seconds"]
    share = copy / ours
    keep(
        "corpus-token-reading",
        what=f"random batches of {ROWS} x {LENGTH} u16 of {tokens / 1e6:.0f} M tokens, 1 worker",
        ours=round(first.nbytes / ours / 1e9, 2),
        unit="GB/s",
        peer="numpy memcpy of one array in cache",
        theirs=round(first.nbytes / copy / 1e9, 2),
        ratio=round(share, 3),
        goal=f">= {GOAL_COPY} of memcpy",
        met=share >= GOAL_COPY,
        memcpy_from_a_random_place_GBps=round(first.nbytes / far_copy / 1e9, 2),
        batch_microseconds=round(ours * 1e6, 1),
    )
    for name, title in (("litdata", "litdata 0.2.76"), ("mds", "mosaicml-streaming 0.13.0 (MDS)")):
        times = peers[name] / ours
        keep(
            f"corpus-token-reading-{name}",
            what=f"random batches of {ROWS} x {LENGTH} u16, 1 worker, page cache warm",
            ours=round(ours * 1e3, 3),
            unit="ms a batch",
            peer=title,
            theirs=round(peers[name] * 1e3, 3),
            ratio=round(times, 1),
            goal=f">= {GOAL_PEERS} times as fast",
            met=times >= GOAL_PEERS,
        )


if __name__ == "__main__":
    main()
