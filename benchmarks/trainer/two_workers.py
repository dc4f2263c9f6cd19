"""Two workers of one thread against one worker of two: what data parallelism costs.

A step has 16,384 tokens, in one pass: nothing is accumulated, so every step pays the whole
exchange of gradients and weights.
"""

import argparse
from statistics import median

from benchmarks.report import keep
from benchmarks.trainer.ranks import SHAPES, Timing, config_of, step_seconds

LENGTH = 512
ROWS = 32
LAYOUTS = {"ZeRO 0": 0, "ZeRO 1": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=["10M", "50M"], choices=SHAPES)
    parser.add_argument("--no-keep", action="store_true", help="print only")
    options = parser.parse_args()
    for size in options.sizes:
        vocabulary = SHAPES[size][1]
        one = config_of(size, ROWS, LENGTH, workers=1, threads=2)
        sides = {"one worker": one} | {
            name: config_of(size, ROWS, LENGTH, workers=2, threads=1, zero_stage=stage)
            for name, stage in LAYOUTS.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for round_ in range(options.rounds):
            for name, config in sides.items():
                found = step_seconds(Timing(config, vocabulary, options.steps))
                seconds[name] += found
                print(size, round_, name, [round(s, 3) for s in found], flush=True)
        rates = {name: ROWS * LENGTH / median(found) for name, found in seconds.items()}
        if not options.no_keep:
            _keep(size, rates)
        print({name: round(rate) for name, rate in rates.items()})


def _keep(size: str, rates: dict[str, float]) -> None:
    ours, theirs = rates["ZeRO 1"], rates["one worker"]
    keep(
        f"trainer-two-workers-{size.lower()}",
        what=f"training of {size} parameters by two workers of one thread, ZeRO 1 (the default), "
        f"{ROWS * LENGTH:,} tokens a step in one pass",
        ours=round(ours),
        unit="tokens/s",
        peer="one worker of two threads",
        theirs=round(theirs),
        ratio=round(ours / theirs, 3),
        goal=">= 0.85",
        met=ours / theirs >= 0.85,
        zero_0=round(rates["ZeRO 0"]),
        zero_0_ratio=round(rates["ZeRO 0"] / theirs, 3),
    )


if __name__ == "__main__":
    main()
