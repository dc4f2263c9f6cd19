"""Gradients reduced during the backward pass against after it, and against torch's DDP.

Four ranks of one thread over gloo, in fp32: two groups of two that shard the optimiser state, as
two nodes would. On one machine a collective is little but copying, for which computing ranks have
no core to spare; so each side is timed over the machine's loopback and again over links of a
set speed (``slow_link.py``), one per rank, which is what overlap is for. DDP goes over the same
links by a hook.

Hidden is the share of the time of gradient messages that lies before the last gradient of the
backward pass. All sides take their turns in the same processes.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.report import keep
from benchmarks.trainer.no_tokenizer import NoTokenizer
from benchmarks.trainer.overlap_sides import Ddp, Ours, Side
from benchmarks.trainer.ranks import RandomRows
from benchmarks.trainer.slow_link import Link, Span
from trainer.data.rows import collate
from trainer.models.llama import NextTokenLoss, new_model
from trainer.models.shape import ModelShape

RANKS, GROUP = 4, 2
LENGTH, VOCABULARY = 256, 2048
SHAPE = ModelShape(
    hidden_size=384, num_layers=8, num_heads=6, num_kv_heads=6, mlp_size=1024, max_positions=LENGTH
)
"""15M parameters, few of them in the embedding: its gradient comes last, and hides behind nothing
(in a 7B model 5 % of all)."""
BUCKET = 4 << 20
WHOLE = 1 << 40
LEAST_HIDDEN, LEAST_GAIN, LEAST_OF_DDP = 0.7, 1.2, 1.0


@dataclass(frozen=True)
class Plan:
    """What is timed; picklable."""

    rounds: int
    steps: int
    link: float
    """Bytes per second."""


@dataclass(frozen=True)
class Timed:
    """One step on rank 0."""

    seconds: float
    hidden: float
    """Share of the time of its messages; 0 where they are not seen."""
    exposed: float
    """Seconds from the last gradient to the last sum."""


def hidden_share(spans: list[Span], gradients_in: float) -> float:
    """Share of the messages' time that lies before ``gradients_in``."""
    total = sum(span.end - span.begin for span in spans)
    before = sum(max(0.0, min(span.end, gradients_in) - span.begin) for span in spans)
    return before / total if total else 0.0


def timed_step(side: Side, number: int, link: Link) -> Timed:
    """One step; all ranks begin at once."""
    batch = collate([RandomRows(LENGTH, VOCABULARY).row(RANKS * number + dist.get_rank())])
    link.clear()
    dist.barrier()
    began = time.perf_counter()
    side.step(batch)
    seconds = time.perf_counter() - began
    last = max((span.end for span in link.spans), default=side.gradients_in)
    return Timed(seconds, hidden_share(link.spans, side.gradients_in), last - side.gradients_in)


def sides(slow: bool) -> dict[str, Side]:
    """Each with a model of its own, from the same seed."""

    def loss() -> NextTokenLoss:
        return NextTokenLoss(new_model(SHAPE, VOCABULARY, NoTokenizer(), 1, torch.float32))

    return {
        "overlapped": Ours(loss(), GROUP, BUCKET),
        "afterwards": Ours(loss(), GROUP, WHOLE),
        "ddp": Ddp(loss(), BUCKET, hooked=slow),
    }


def _rank(rank: int, folder: str, plan: Plan) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=RANKS)
    found: dict[tuple[str, str], list[Timed]] = {}
    for place, speed in (("loopback", None), ("link", plan.link)):
        runners = sides(slow=speed is not None)
        with Link(speed) as link:
            for name, side in runners.items():
                timed_step(side, 0, link)  # the first step makes what later ones use again
                found[place, name] = []
            for round_ in range(plan.rounds):
                for name, side in runners.items():
                    numbers = range(1 + round_ * plan.steps, 1 + (round_ + 1) * plan.steps)
                    found[place, name] += [timed_step(side, n, link) for n in numbers]
    if rank == 0:
        torch.save(found, Path(folder) / "found.pt")
    dist.barrier()
    dist.destroy_process_group()


def measure(plan: Plan) -> dict[tuple[str, str], list[Timed]]:
    """(Loopback or link, side) to its steps."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, (folder, plan), nprocs=RANKS)
        return torch.load(Path(folder) / "found.pt", weights_only=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="turns of every side")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a turn")
    parser.add_argument("--link-mb-s", type=float, default=100.0, help="of every rank's link")
    parser.add_argument("--no-keep", action="store_true", help="print only")
    options = parser.parse_args()
    plan = Plan(options.rounds, options.steps, options.link_mb_s * 1e6)
    found = measure(plan)
    rates = {}
    for (place, name), steps in found.items():
        seconds = [step.seconds for step in steps]
        rates[place, name] = RANKS * LENGTH / median(seconds)
        hidden, exposed = median(s.hidden for s in steps), median(s.exposed for s in steps)
        print(place, name, [round(s, 2) for s in seconds], f"{hidden:.2f} {exposed:.3f}")
    if not options.no_keep:
        _keep(plan, rates, found["link", "overlapped"], found["link", "ddp"])


def _keep(
    plan: Plan, rates: dict[tuple[str, str], float], ours: list[Timed], ddp: list[Timed]
) -> None:
    hidden = median(step.hidden for step in ours)
    link = f"links of {plan.link / 1e6:.0f} MB/s, simulated; 4 ranks in groups of 2, 15M, fp32"
    loopback = {name: round(rate, 1) for (place, name), rate in rates.items() if place != "link"}
    for peer, said, least, extra in (
        ("afterwards", "the same, reduced after it", LEAST_GAIN, LEAST_HIDDEN),
        ("ddp", "torch DDP over gloo, same buckets and links", LEAST_OF_DDP, 0.0),
    ):
        ratio = rates["link", "overlapped"] / rates["link", peer]
        goal = f">= {least}" + (f", and {extra} of the messages' time hidden" if extra else "")
        keep(
            f"trainer-overlap-{peer}",
            what=f"training with gradients reduced during the backward pass, {link}",
            ours=round(rates["link", "overlapped"], 1),
            unit="tokens/s",
            peer=said,
            theirs=round(rates["link", peer], 1),
            ratio=round(ratio, 3),
            goal=goal,
            met=ratio >= least and hidden >= extra,
            hidden=round(hidden, 3),
            exposed_seconds=round(median(step.exposed for step in ours), 4),
            ddp_hidden=round(median(step.hidden for step in ddp), 3),
            loopback_tokens_per_second=loopback,
        )


if __name__ == "__main__":
    main()
