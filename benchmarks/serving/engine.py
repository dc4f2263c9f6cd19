"""Decode and prefill speed of the engine beside llama.cpp's and transformers', in one run.

python -m benchmarks.serving.engine [--only ROW] [--batch N] [--small] [--threads 2] [--rounds 2]

128 prompt tokens, 64 new ones, greedy. Decode counts tokens after every request has its first;
"whole" counts all new tokens over the time from the first prompt to the last token. The engine
is measured through its public stream: scheduling, choosing and delivering tokens included. Of
llama.cpp only ``llama_decode`` is timed (``peers/llama_speed.py``).

Every engine runs in a process of its own, as its users run it and with its own defaults (ours
asks for large pages, transformers does not), all with the same number of threads. Ours and
transformers' take turns for some rounds; the best of each counts.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.peers import run_peer
from benchmarks.report import compare
from benchmarks.serving.model import SIZES, SMALL, make_int4, make_model
from benchmarks.serving.processes.asked import NEW, PROMPT, Asked, best, measure

BATCHES = (1, 8, 32)
SHARED, SHARERS = 1000, 64
DENSE_ROWS = 5
"""From so many rows on, the 4-bit model multiplies with a copy where it keeps one."""
GENERATE_GOALS = {1: 1.0, 8: 1.0, 32: 2.0}
CONTINUOUS_GOAL, PREFIX_GOAL = 4.0, 5.0
DECODE_GOALS = {1: 0.8, 8: 1.2, 32: 1.8}
PREFILL_BATCH, PREFILL_GOAL = 8, 1.3
LLAMA = Path(__file__).parent / "peers" / "llama_speed.py"
INT4: dict[str, dict[str, Any]] = {
    "int4": {},
    f"int4, 8-bit copy from {DENSE_ROWS} rows": {"dense_rows": DENSE_ROWS},
}
WAYS: dict[str, dict[str, Any]] = {
    "": {},
    ", reproducible": {"reproducible": True},
    ", uncompiled": {"compiled": False},
}
"""Other ways to run a model, for comparison."""


class Bench:
    """The models, and what every row is asked for."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.small: bool = arguments.small
        self.threads: int = arguments.threads
        self.rounds: int = arguments.rounds
        self.repeats: int = arguments.repeats
        self.ways = WAYS if arguments.ways else {"": {}}
        self.batches: list[int] = [arguments.batch] if arguments.batch else list(BATCHES)
        self.folder = folder
        self.bf16 = make_model(folder / "bf16", self.small)

    def asked(self, path: Path, batch: int, **settings: Any) -> Asked:
        """A batch of a model."""
        return Asked(str(path), batch, self.threads, self.repeats, settings=settings)

    def report(
        self, name: str, what: str, value: float, peer: str, theirs: float, goal: float, **kept: Any
    ) -> None:
        """Keep one comparison of speeds; of the small model, print it."""
        if self.small:
            print(f"{name}: {value:.1f}, {peer} {theirs:.1f}: {value / theirs:.2f} {kept}")
            return
        kept = {"processes": "one per engine", "rounds": self.rounds, **kept}
        compare(
            f"serving-engine-{name}",
            what=what,
            ours=value,
            unit="tokens/s",
            peer=peer,
            theirs=theirs,
            least=goal,
            **kept,
        )

    def ours(self, kinds: Mapping[str, Asked]) -> dict[str, dict[str, float]]:
        """Each kind's speed in this round, every one in a process of its own."""
        said = {}
        for kind, question in kinds.items():
            said[kind] = measure("ours", question)
            print(f"{kind}, batch {question.batch}: {said[kind]}", flush=True)
        return said

    def beside_transformers(self, what: str, batch: int) -> tuple[dict[str, float], float]:
        """Whole batches in bf16: ours by kind, and theirs."""
        question = self.asked(self.bf16, batch)
        kinds = {f"bf16{way}": replace(question, settings=how) for way, how in self.ways.items()}
        ours, theirs = [], []
        for _ in range(self.rounds):
            ours.append(self.ours(kinds))
            theirs.append(float(measure(what, question)["whole"]))
            print(f"{what}, batch {batch}: {theirs[-1]}", flush=True)
        whole = {kind: round(best([r[kind] for r in ours])["whole"], 1) for kind in kinds}
        return whole, max(theirs)


def against_generate(bench: Bench) -> None:
    """Whole batches in bf16 beside transformers' ``generate``."""
    for batch in bench.batches:
        whole, theirs = bench.beside_transformers("generate", batch)
        bench.report(
            "generate" if batch == BATCHES[-1] else f"generate-{batch}",
            f"new tokens, batch {batch}, bf16, whole",
            whole["bf16"],
            "transformers generate",
            theirs,
            GENERATE_GOALS.get(batch, 1.0),
            all_ours=whole,
        )


def against_continuous(bench: Bench) -> None:
    """The largest batch in bf16 beside transformers' continuous batching."""
    whole, theirs = bench.beside_transformers("continuous", BATCHES[-1])
    bench.report(
        "continuous",
        f"new tokens, batch {BATCHES[-1]}, bf16, whole",
        whole["bf16"],
        "transformers continuous",
        theirs,
        CONTINUOUS_GOAL,
        all_ours=whole,
    )


def against_llama(bench: Bench) -> None:
    """Decode by batch and prefill, beside llama.cpp's Q4_0 on a model of the same shape."""
    untied = make_model(bench.folder / "untied", bench.small, tied=False)
    int4 = make_int4(untied, bench.folder / "int4", lm_head=True)
    ways = {f"{kind}{way}": i | w for kind, i in INT4.items() for way, w in bench.ways.items()}
    speeds: dict[int, dict[str, dict[str, float]]] = {}
    for batch in bench.batches:
        kinds = {kind: bench.asked(int4, batch, **how) for kind, how in ways.items()}
        rounds = [bench.ours(kinds) for _ in range(bench.rounds)]
        speeds[batch] = {kind: best([r[kind] for r in rounds]) for kind in kinds}
    sizes = json.dumps({**SIZES, **(SMALL if bench.small else {})})
    llama = run_peer(LLAMA, sizes, bench.folder, bench.threads, PROMPT, NEW, *bench.batches)
    for batch in bench.batches:
        _beside_llama(bench, "decode", batch, speeds[batch], llama)
    if PREFILL_BATCH in speeds:
        _beside_llama(bench, "prefill", PREFILL_BATCH, speeds[PREFILL_BATCH], llama)


def _beside_llama(
    bench: Bench,
    part: str,
    batch: int,
    speeds: dict[str, dict[str, float]],
    llama: dict[str, Any],
) -> None:
    kinds = {kind: round(speed[part], 1) for kind, speed in speeds.items()}
    fastest = max(kinds, key=lambda kind: kinds[kind])
    decode = part == "decode"
    what = (
        f"decode, batch {batch}, 4-bit weights ({fastest}), new tokens after the first"
        if decode
        else f"prefill of {batch} prompts of {PROMPT} tokens, 4-bit weights ({fastest})"
    )
    bench.report(
        f"decode-{batch}" if decode else "prefill",
        what,
        kinds[fastest],
        "llama.cpp Q4_0",
        llama["q4_0"][str(batch)][part],
        DECODE_GOALS.get(batch, 1.0) if decode else PREFILL_GOAL,
        all_ours=kinds,
        llama_f16=round(llama["f16"][str(batch)][part], 1),
        peer_built_for=llama["system"],
    )


def against_no_cache(bench: Bench) -> None:
    """Requests that share a beginning beside as many that share none."""
    sharers = 8 if bench.small else SHARERS
    apart = replace(bench.asked(bench.bf16, sharers), prompt=SHARED + 8, new=8, repeats=1)
    said = {0: 0.0, SHARED: 0.0}
    for shared in said:
        question = replace(apart, shared=shared)
        said[shared] = bench.ours({f"{shared} tokens shared": question}).popitem()[1]["whole"]
    bench.report(
        "prefix",
        f"{sharers} requests that share {SHARED} tokens",
        said[SHARED],
        "no prefix in common",
        said[0],
        PREFIX_GOAL,
        rounds=1,
    )


ROWS = {
    "llama": against_llama,
    "generate": against_generate,
    "continuous": against_continuous,
    "prefix": against_no_cache,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tiny model: does it run at all?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=list(ROWS))
    parser.add_argument("--batch", type=int, help="only this one, of llama and generate")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each engine")
    parser.add_argument("--repeats", type=int, default=3, help="runs in each process")
    parser.add_argument("--ways", action="store_true", help="our other ways to run a model too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inkstone-bench-") as name:
        bench = Bench(Path(name), arguments)
        for row in [arguments.only] if arguments.only else ROWS:
            ROWS[row](bench)


if __name__ == "__main__":
    main()
