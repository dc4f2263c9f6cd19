"""Model FLOPs utilisation of training on one GPU, in bf16, without Ray and without DeepSpeed.

Runs the trainer's own stepper on random rows. Needs torch, transformers and this repository
only. ``7b`` keeps fp32 weights and moments in the host's memory (about 93 GB): they do not fit
one GPU beside the model.

    python -m benchmarks.gpu.train                        # 1b and, where the host allows, 7b
    python -m benchmarks.gpu.train --shapes tiny --device cpu --steps 2   # a try on a CPU

MFU = model FLOPs / time / peak; model FLOPs after ``trainer.plan.model.Shape.flops_per_token``
(6 per multiplying parameter and token, causal attention counted as half the square).
"""

import argparse
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.report import keep
from benchmarks.trainer.no_tokenizer import NoTokenizer
from trainer.config import OptimiserConfig
from trainer.data.rows import Row, collate
from trainer.models.build import hf_config, initialise
from trainer.models.compiled import decide
from trainer.models.llama import NextTokenLoss
from trainer.models.shape import ModelShape
from trainer.observe.peak import peak_flops
from trainer.parallel.plain import PlainStepper
from trainer.plan.model import Shape, find_shape

GOAL = 0.55


@dataclass(frozen=True)
class Case:
    """What is trained, and how a step is cut."""

    preset: str
    changes: dict[str, Any]
    rows: int
    """Of one forward pass."""
    passes: int
    """Forward passes of a step."""
    length: int
    recompute: str
    offload: bool


CASES = {
    "tiny": Case(
        "llama3-1b",
        {"num_layers": 2, "hidden_size": 64, "num_heads": 4, "num_kv_heads": 2, "mlp_size": 160,
         "vocab_size": 500, "max_positions": 128},
        2, 2, 128, "none", False,
    ),
    "1b": Case("llama3-1b", {}, 2, 4, 4096, "none", False),
    "7b": Case("internlm2-7b", {}, 1, 32, 4096, "full", True),
}  # fmt: skip


def shape_of(case: Case) -> ModelShape:
    """The case's shape."""
    return ModelShape.model_validate({"preset": case.preset, **case.changes})


def planned(case: Case, model: Any) -> Shape:
    """The plan's view of the case's model, for its FLOPs; checked against the model itself."""
    shape = shape_of(case)
    base = find_shape(case.preset)
    found = Shape(
        case.preset, shape.vocab_size or base.vocab, shape.hidden_size, shape.num_layers,
        shape.num_heads, shape.num_kv_heads, shape.mlp_size, tied=shape.tie_embeddings,
        qkv_bias=base.qkv_bias,
    )  # fmt: skip
    if found.parameters != sum(p.numel() for p in model.parameters()):
        raise AssertionError(f"{case.preset}: the plan counts other parameters than the model has")
    return found


def measure(case: Case, device: torch.device, steps: int, compiled: bool) -> dict[str, float]:
    """Seconds of a step, MFU and peak memory of one case."""
    config = hf_config(shape_of(case), 0, NoTokenizer())
    with torch.device(device):
        model = initialise(config, seed=1)
    plan = planned(case, model)
    loss = NextTokenLoss(model, recompute=case.recompute, compiled=compiled)
    stepper = PlainStepper(loss, OptimiserConfig(lr=1e-5), offload=case.offload)
    stepper.train(True)
    ids = np.random.default_rng(1).integers(0, plan.vocab, (case.rows, case.length + 1))
    none = np.zeros(case.length, np.int32)
    batch = collate([Row(row[:-1], row[1:], none) for row in ids])
    tokens = case.rows * case.length * case.passes
    times = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # making the model in fp32 is no part of a step
    for _ in range(steps + 2):
        _synchronise(device)
        started = time.perf_counter()
        for _ in range(case.passes):
            stepper.backward(stepper.loss(batch) / tokens, last=True)
        stepper.step(1e-5)
        _synchronise(device)
        times.append(time.perf_counter() - started)
    seconds = median(times[2:])
    peak, _ = peak_flops(device, torch.bfloat16)
    return {
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "mfu": plan.flops_per_token(case.length) * tokens / seconds / peak,
        "memory_bytes": float(torch.cuda.max_memory_allocated()) if device.type == "cuda" else 0.0,
    }


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default="1b,7b", help="of tiny, 1b, 7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --device cpu --shapes tiny tries the script on a CPU")
    compiled, notice = decide("auto" if not options.eager else False, device.type, False)
    if notice:
        print(notice)
    for name in options.shapes.split(","):
        case = CASES[name]
        found = measure(case, device, options.steps, compiled)
        print(name, found, flush=True)
        if device.type == "cuda":
            report(name, case, found, torch.cuda.get_device_name(device), compiled)
            torch.cuda.empty_cache()


def report(name: str, case: Case, found: dict[str, float], gpu: str, compiled: bool) -> None:
    """Keep one case's result."""
    where = "on the host" if case.offload else "on the GPU"
    keep(
        f"gpu-train-{name}",
        what=f"MFU of training {case.preset}, bf16, {case.length} tokens a row, recompute "
        f"{case.recompute}, optimiser {where}, {'compiled' if compiled else 'eager'}, one {gpu}",
        ours=round(found["mfu"], 3),
        unit="of peak",
        peer="torchtitan, published: 0.33 to 0.39 on 8B",
        theirs=None,
        ratio=None,
        goal=f">= {GOAL}",
        met=found["mfu"] >= GOAL,
        step=found,
    )


if __name__ == "__main__":
    main()
