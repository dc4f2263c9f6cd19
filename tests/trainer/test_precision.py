"""fp16 with its loss scale, and layers that are computed again: against plain fp32."""

import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainer.ranks import SHAPE, VOCABULARY, NoTokenizer, Rows, Run, run_here, run_ranks
from trainer.config import OptimiserConfig
from trainer.data.rows import collate
from trainer.models.llama import NextTokenLoss, new_model
from trainer.parallel.plain import PlainStepper
from trainer.parallel.scaler import LossScale


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 2e-3), ("bf16", 2e-2)])
def test_low_precision_stays_near_fp32(tmp_path: Path, precision: str, tolerance: float):
    seed = random.randrange(1000)
    wanted = run_here(Run(str(tmp_path / "a"), {"workers": 1}, seed))
    found = run_here(Run(str(tmp_path / "b"), {"workers": 1}, seed, precision=precision))
    assert found.data == wanted.data
    assert found.losses == pytest.approx(wanted.losses, abs=tolerance)


@pytest.mark.parametrize("how", ["selective", "full"])
def test_recomputed_layers_have_the_same_gradient(how: str):
    batch = collate([Rows(4).row(k) for k in range(3)])
    gradients = []
    for recompute in ("none", how):
        model = new_model(SHAPE, VOCABULARY, NoTokenizer(), 7, torch.float32)
        loss = NextTokenLoss(model, recompute=recompute)
        loss.train()
        loss(batch).backward()
        gradients.append([p.grad for p in loss.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


class CountOperators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.counts[function.name().split(".")[0]] += 1
        return function(*args, **(kwargs or {}))


def test_selective_computes_no_product_and_no_attention_again():
    found = {}
    for how in ("none", "selective", "full"):
        model = new_model(SHAPE, VOCABULARY, NoTokenizer(), 7, torch.float32)
        loss = NextTokenLoss(model, recompute=how)
        loss.train()
        with CountOperators() as operators:
            loss(collate([Rows(4).row(0)])).backward()
        found[how] = operators.counts
    products = {how: counts["aten::mm"] for how, counts in found.items()}
    activations = {how: counts["aten::silu"] for how, counts in found.items()}
    attention = {
        how: sum(n for op, n in c.items() if "attention" in op) for how, c in found.items()
    }
    assert products["none"] == products["selective"] < products["full"]
    assert attention["none"] == attention["selective"] < attention["full"]
    assert activations["none"] < activations["selective"] == activations["full"]


def test_an_overflow_leaves_the_weights_and_halves_the_scale():
    model = new_model(SHAPE, VOCABULARY, NoTokenizer(), 7, torch.float16)
    stepper = PlainStepper(NextTokenLoss(model), OptimiserConfig(), "fp16")
    stepper._scale.value = 2.0**30
    before = [weight.clone() for weight in stepper._master]
    batch = collate([Rows(4).row(0)])
    stepper.backward(stepper.loss(batch), last=True)
    assert stepper.step(1e-3).skipped
    assert stepper._scale.value == 2.0**29
    assert all(torch.equal(a, b) for a, b in zip(before, stepper._master, strict=True))


@pytest.mark.slow
def test_offload_in_bf16_stays_near_fp32_and_may_be_switched_on_the_way(tmp_path: Path):
    seed = random.randrange(1000)
    wanted = run_here(Run(str(tmp_path / "a"), {"workers": 1}, seed))
    layouts = [{"zero_stage": 1, "offload": True}, {"zero_stage": 3, "offload": True}, {}]
    runs = [
        Run(str(tmp_path / "b"), {"workers": 2, **layout}, seed, stop_after=stop, precision="bf16")
        for layout, stop in zip(layouts, (1, 3, None), strict=True)
    ]
    found = run_ranks(2, *runs)
    assert [len(part.losses) for part in found] == [2, 4, 6]
    assert found[-1].data == wanted.data
    assert found[-1].losses == pytest.approx(wanted.losses, abs=2e-2)


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_gradient_that_is_never_finite_ends_the_run(tmp_path: Path, ranks: int):
    """The scale is lowered to 1; what overflows there will not take a step any more."""
    parallel = {"workers": ranks, "zero_stage": 1}
    run = Run(str(tmp_path), parallel, 2, steps=60, precision="fp16", poisoned=True)
    with pytest.raises(Exception, match=r"step \d+: gradient norm (nan|inf) on"):
        run_here(run) if ranks == 1 else run_ranks(ranks, run)


def test_the_scale_grows_after_a_thousand_good_steps():
    scale = LossScale.for_precision("fp16")
    for _ in range(1000):
        scale.update(overflowed=False)
    assert scale.value == 131072
    again = LossScale.for_precision("fp16")
    again.restore(scale.scalars())
    assert again == scale
    assert not LossScale.for_precision("bf16").dynamic
