"""The loop on its plain, one-process stepper: no Ray, no DeepSpeed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.inputs import TINY_MODEL, Inputs
from tests.trainer.ranks import Run, run_here
from trainer.bad_steps import SpikeWatch, TrainingDiverged
from trainer.checkpoint import CheckpointStore
from trainer.config import BadStepConfig, ModelShape, OptimiserConfig
from trainer.data.rows import Row, collate
from trainer.loop import LoopPlan, train
from trainer.losses.cross_entropy import IGNORE
from trainer.metrics import MetricsLog
from trainer.models.llama import NextTokenLoss, load_tokenizer, new_model
from trainer.parallel.plain import PlainStepper
from trainer.step import validation_losses

VOCABULARY = 400


class RandomRows:
    """Rows of a fixed random text, with some positions that carry no loss."""

    row_length = 24

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.asked: list[int] = []

    def row(self, k: int) -> Row:
        self.asked.append(k)
        chance = np.random.default_rng([self.seed, k])
        inputs = chance.integers(0, VOCABULARY, self.row_length)
        labels = np.where(chance.random(self.row_length) < 0.3, IGNORE, np.roll(inputs, -1))
        return Row(inputs, labels, np.zeros(self.row_length, np.int32))

    def validation(self) -> dict[str, list[Row]]:
        return {"seen": [self.row(k) for k in range(3)]}


def plan(**changes) -> LoopPlan:
    values = {
        "total_steps": 6,
        "batch": 5,
        "micro_batch": 2,
        "validation_every": 3,
        "checkpoint_every": 2,
        "optimiser": OptimiserConfig(lr=3e-3, warmup_steps=2),
        "prefix": "test",
    }
    return LoopPlan(**{**values, **changes})


@pytest.fixture
def stepper(inputs: Inputs) -> PlainStepper:
    return make_stepper(inputs)


def make_stepper(inputs: Inputs) -> PlainStepper:
    tokenizer = load_tokenizer(inputs.tokenizer.path("tokenizer"))
    model = new_model(ModelShape.model_validate(TINY_MODEL), VOCABULARY, tokenizer, seed=2)
    return PlainStepper(NextTokenLoss(model), OptimiserConfig())


def run(stepper: PlainStepper, root: Path, rows: RandomRows, the_plan: LoopPlan) -> list[dict]:
    log = MetricsLog(None)
    train(the_plan, rows, stepper, CheckpointStore(root, prefix="test"), log)
    return [json.loads(line) for line in log.lines]


def test_every_sample_is_trained_once_and_in_order(stepper: PlainStepper, tmp_path: Path):
    rows = RandomRows(seed=1)
    run(stepper, tmp_path, rows, plan())
    assert rows.asked[3:] == list(range(30))


def test_metrics_tell_the_whole_curve(stepper: PlainStepper, tmp_path: Path):
    lines = run(stepper, tmp_path, RandomRows(seed=1), plan())
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "validation" in line] == [0, 3, 6]
    assert all(line["samples"] == 5 * line["step"] for line in lines)
    first, last = lines[0]["validation"]["seen"], lines[-1]["validation"]["seen"]
    assert last < first


def test_micro_batches_change_nothing_but_rounding(inputs: Inputs, tmp_path: Path):
    """Loss is normalised by the batch's loss tokens, however it is cut."""
    whole = run(make_stepper(inputs), tmp_path / "a", RandomRows(3), plan(micro_batch=5))
    cut = run(make_stepper(inputs), tmp_path / "b", RandomRows(3), plan(micro_batch=1))
    for one, other in zip(whole, cut, strict=True):
        if "loss" in one:
            assert one["loss_tokens"] == other["loss_tokens"]
            assert one["loss"] == pytest.approx(other["loss"], rel=2e-3)
            assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=3e-2)


def test_one_step_is_that_of_adamw_in_fp32(inputs: Inputs):
    """Against torch's own optimiser on fp32 weights: within bf16's rounding."""
    stepper = make_stepper(inputs)
    twin = make_stepper(inputs)._module.float()
    batch = collate([RandomRows(8).row(k) for k in range(4)])
    decayed = [p for p in twin.parameters() if p.ndim > 1]
    others = [p for p in twin.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.9, 0.95),
    )
    (twin(batch) / batch.loss_tokens).backward()
    torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
    optimiser.step()
    stepper.backward(stepper.loss(batch) / batch.loss_tokens, last=True)
    stepper.step(1e-2)
    for (name, wanted), master in zip(twin.named_parameters(), stepper._master, strict=True):
        # Adam's first step is lr * sign(g): where g is near 0 its sign may differ.
        differs = (master - wanted).abs() > 2e-3
        assert differs.float().mean() < 0.03, name


def test_interrupted_training_goes_on_as_if_it_had_not_been(inputs: Inputs, tmp_path: Path):
    undisturbed = make_stepper(inputs)
    wanted = run(undisturbed, tmp_path / "a", RandomRows(5), plan())
    run(
        make_stepper(inputs), tmp_path / "b", RandomRows(5), plan(total_steps=6, checkpoint_every=4)
    )
    for record in (tmp_path / "b").glob("step-00000006.json"):
        record.unlink()
    again = make_stepper(inputs)
    rows = RandomRows(5)
    found = run(again, tmp_path / "b", rows, plan(checkpoint_every=4))
    assert rows.asked[3:] == list(range(20, 30))
    assert found == wanted
    for name, weight in undisturbed.weights().items():
        assert torch.equal(weight, again.weights()[name]), name


def test_a_finished_run_trains_nothing_again(inputs: Inputs, tmp_path: Path):
    wanted = run(make_stepper(inputs), tmp_path, RandomRows(5), plan())
    rows = RandomRows(5)
    assert run(make_stepper(inputs), tmp_path, rows, plan()) == wanted
    assert len(rows.asked) == 3


def test_a_loss_that_is_no_number_stops_with_the_remedy(stepper: PlainStepper, tmp_path: Path):
    with torch.no_grad():
        for weight in stepper._low:
            weight[0] = float("nan")
    with pytest.raises(TrainingDiverged, match=r"step 1: loss nan.*lower optimiser\.lr"):
        run(stepper, tmp_path, RandomRows(1), plan())


@pytest.mark.parametrize("empty", [range(5, 10), range(5, 9)])
def test_a_batch_without_loss_is_no_measure_of_the_others(
    stepper: PlainStepper, tmp_path: Path, empty: range
):
    """The second batch has no token with loss, or those of one row: the third is no leap."""

    class Silent(RandomRows):
        def row(self, k: int) -> Row:
            row = super().row(k)
            labels = np.full_like(row.labels, IGNORE) if k in empty else row.labels
            return Row(row.inputs, labels, row.segments)

    watch = BadStepConfig(max_rise=2.0, window=1)
    lines = run(stepper, tmp_path, Silent(7), plan(bad_steps=watch))
    steps = [line for line in lines if "loss" in line]
    assert [line["samples"] for line in steps] == [5, 10, 15, 20, 25, 30]
    if len(empty) == 5:
        assert (steps[1]["loss"], steps[1]["loss_tokens"], steps[1]["grad_norm"]) == (0, 0, 0)
    assert all(2 < line["loss"] < 10 for line in steps if line["loss_tokens"])
    assert sum(weight.isnan().sum() for weight in stepper.weights().values()) == 0


def test_a_bad_batch_that_cannot_be_written_hides_nothing(stepper: PlainStepper, tmp_path: Path):
    """What stops the run is still the loss; of too many bad steps the limit is named."""
    with torch.no_grad():
        for weight in stepper._low:
            weight[0] = float("nan")
    (tmp_path / "file").touch()
    policy = BadStepConfig(action="skip", at_most=1)
    bad = plan(bad_steps=policy, bad_folder=tmp_path / "file" / "bad")
    said = r"loss nan.*could not be written.*bad step 2 of the run.*raise bad_steps\.at_most"
    with pytest.raises(TrainingDiverged, match=said):
        run(stepper, tmp_path / "state", RandomRows(1), bad)


def test_a_restart_forgets_no_bad_step(tmp_path: Path):
    """Every rise is a bad step here: one more than allowed stops, in one piece or in two."""

    def leaping(root: str, at_most: int, stop_after: int | None = None) -> Run:
        bad_steps = {"action": "skip", "max_rise": 1e-9, "window": 1, "at_most": at_most}
        options = {"bad_steps": bad_steps}
        return Run(
            str(tmp_path / root), {"workers": 1}, 3, 10, stop_after, options=options, few_rows=True
        )

    lines = [line for line in run_here(leaping("all", 99)).lines if "loss" in line]
    left_out = [line["samples"] // 5 - line["step"] for line in lines]
    bad, half = left_out[-1], next(i for i, n in enumerate(left_out) if n)
    assert 0 < left_out[half] < bad, "bad steps must lie on both sides of the restart"
    with pytest.raises(TrainingDiverged):
        run_here(leaping("whole", bad - 1))
    run_here(leaping("cut", bad - 1, stop_after=half + 1))
    with pytest.raises(TrainingDiverged):
        run_here(leaping("cut", bad - 1))


def test_the_median_is_taken_over_the_losses_that_a_restart_reads(
    stepper: PlainStepper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kept: list[float] = []
    monkeypatch.setattr(SpikeWatch, "good", lambda self, loss: kept.append(loss))
    lines = run(stepper, tmp_path, RandomRows(1), plan())
    assert kept == [line["loss"] for line in lines if "loss" in line]


def test_validation_loss_is_the_mean_over_loss_tokens(stepper: PlainStepper):
    rows = [RandomRows(6).row(k) for k in range(5)]
    found = validation_losses({"d": rows}, 2, stepper)["d"]
    one_by_one = sum(float(stepper.loss(collate([row]))) for row in rows)
    assert found == pytest.approx(one_by_one / sum(r.loss_tokens for r in rows), rel=2e-3)


def test_it_learns_a_copy_of_the_text(inputs: Inputs, tmp_path: Path):
    """Five rows again and again: a loop that trains must overfit them."""

    class Few(RandomRows):
        def row(self, k: int) -> Row:
            return super().row(k % 5)

    the_plan = plan(
        total_steps=60, validation_every=99, checkpoint_every=99,
        optimiser=OptimiserConfig(lr=2e-2, warmup_steps=5),
    )  # fmt: skip
    lines = run(make_stepper(inputs), tmp_path, Few(7), the_plan)
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.6 * losses[0]
