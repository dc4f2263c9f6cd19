"""torch.compile: the same training, asked for or not, with a compiler or without."""

import random
from pathlib import Path

import pytest
import torch

from tests.trainer.inputs import Inputs, run_pretrain
from tests.trainer.ranks import SHAPE, VOCABULARY, NoTokenizer, Rows, Run, run_here
from trainer.config import PretrainConfig
from trainer.data.rows import collate
from trainer.losses.cross_entropy import linear_cross_entropy
from trainer.models import compiled
from trainer.models.compiled import compiler_problem, decide
from trainer.models.llama import NextTokenLoss, new_model


@pytest.fixture
def compiler() -> None:
    if compiler_problem("cpu"):
        pytest.skip("no compiler here")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose C++ compiler is not there."""
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    monkeypatch.setattr(inductor, "force_disable_caches", True)
    monkeypatch.setattr(inductor.cpp, "cxx", ("/no/such/compiler",))
    compiled.compiler_problem.cache_clear()
    torch._dynamo.reset()
    yield
    compiled.compiler_problem.cache_clear()
    torch._dynamo.reset()


@pytest.mark.slow
def test_a_compiled_run_is_the_plain_one_up_to_rounding(tmp_path: Path, compiler: None):
    seed = random.randrange(1000)
    wanted = run_here(Run(str(tmp_path / "a"), {"workers": 1}, seed))
    found = run_here(Run(str(tmp_path / "b"), {"workers": 1}, seed, options={"compile": True}))
    assert found.data == wanted.data
    assert found.losses == pytest.approx(wanted.losses, rel=2e-5)
    assert set(found.weights) == set(wanted.weights), "names stay as Hugging Face has them"


@pytest.mark.slow
@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_compiled_layers_that_are_computed_again(recompute: str, compiler: None):
    batch = collate([Rows(4).row(k) for k in range(3)])
    gradients = []
    for how, fused in (("none", False), (recompute, True)):
        model = new_model(SHAPE, VOCABULARY, NoTokenizer(), 7, torch.float32)
        loss = NextTokenLoss(model, recompute=how, compiled=fused)
        loss.train()
        loss(batch).backward()
        gradients.append([p.grad for p in loss.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_fused_loss_is_the_plain_one(compiler: None):
    for positions in (3, 700):
        hidden = torch.randn(positions, 16, requires_grad=True)
        weight = torch.randn(91, 16, requires_grad=True)
        labels = torch.randint(0, 91, (positions,))
        found, wanted = (
            (loss, *torch.autograd.grad(loss, (hidden, weight)))
            for loss in (
                linear_cross_entropy(hidden, weight, labels, fused) for fused in (True, False)
            )
        )
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


def test_without_a_compiler_training_says_so_and_goes_on(
    inputs: Inputs, tmp_path: Path, no_compiler: None
):
    made = run_pretrain(inputs, tmp_path, workers=1, steps=1, compile=True)
    assert made.manifest.stats["out"]["steps"] == 1
    (timings,) = tmp_path.rglob("timings.jsonl")
    assert "no working compiler" in timings.read_text()


def test_what_is_decided_without_trying():
    assert decide(False, "cuda", False) == (False, "")
    assert decide("auto", "cpu", False) == (False, "")
    chosen, notice = decide(True, "cpu", gathered=True)
    assert not chosen
    assert "zero_stage 3" in notice


def test_how_it_is_compiled_is_no_part_of_the_fingerprint():
    from clusters.config import identity

    plain, fused = (PretrainConfig.model_validate({"compile": how}) for how in (False, True))
    assert identity(plain) == identity(fused)
