"""Products by matrix tiles against the sum in double precision, and what goes torch's way."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional

from serving.native import linear
from serving.native.build import NoKernels
from serving.native.linear import FEW_ROWS, TileLinear, multiply, multiply_gated, use_tiles

pytestmark = pytest.mark.hardware


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture
def needs_tiles(needs_compiler: None) -> None:
    if linear._products() is None:
        pytest.skip("this processor has no matrix tiles")


def some(rows: int, inputs: int | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    inputs, outputs = inputs or 32 * random.randint(1, 40), 16 * random.randint(1, 60)
    x, weight = torch.randn(rows, inputs).bfloat16(), torch.randn(outputs, inputs).bfloat16()
    return x, weight, torch.randn(outputs).bfloat16()


def no_torch(*_: torch.Tensor) -> torch.Tensor:
    raise AssertionError("torch's product")


@pytest.mark.parametrize(
    "rows",
    [
        *(1, 2, 15, 16, 17, 31, 33, 47, 48, 50, 64, 65, 97, FEW_ROWS),
        *(FEW_ROWS + 1, 223, 224, 225, 240, 241, 256, 300),
    ],
)
@pytest.mark.parametrize("biased", [True, False])
def test_sums_are_rounded_once(
    needs_tiles: None, monkeypatch: pytest.MonkeyPatch, rows: int, biased: bool
) -> None:
    x, weight, bias = some(rows)
    monkeypatch.setattr(functional, "linear", no_torch)
    got = multiply(x[None], weight, bias if biased else None)
    sums = x.double() @ weight.double().T + (bias.double() if biased else 0)
    # Half of the last bit of bf16, and what float32 loses on the way.
    slack = 2**-8 * sums.abs() + 1e-5 * (x.double().abs() @ weight.double().abs().T)
    assert got.shape == (1, rows, len(weight))
    assert ((got[0].double() - sums).abs() <= slack).all()


def test_a_large_product_by_several_threads_between_torchs_own(needs_tiles: None) -> None:
    x, weight = torch.randn(300, 2048).bfloat16(), torch.randn(1040, 2048).bfloat16()
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for rows in (40, 300, 7, 300, 64):
            got = multiply(x[:rows], weight, None)
            want = x[:rows].float() @ weight.float().T
            assert (got.float() - want).abs().max() <= 2**-8 * want.abs().max() + 1e-2
    finally:
        torch.set_num_threads(before)


def test_a_row_has_the_same_bits_in_any_company(needs_tiles: None) -> None:
    total = 2 * FEW_ROWS + 5
    for inputs in (None, 1024, 1504):  # rows that are copied, rows that are read as they lie
        x, weight, bias = some(total, inputs)
        whole = multiply(x, weight, bias)
        for count in (1, 3, 17, 40, FEW_ROWS, FEW_ROWS + 1, FEW_ROWS + 40):
            rows = torch.randperm(total)[:count]
            assert torch.equal(multiply(x[rows], weight, bias), whole[rows])


@pytest.mark.parametrize("rows", [FEW_ROWS + 1, 224, 257, 400])
@pytest.mark.parametrize("biased", [True, False])
def test_gates_and_ups_at_once(needs_tiles: None, rows: int, biased: bool) -> None:
    inputs, half = random.choice([32 * random.randint(1, 40), 1024]), 16 * random.randint(1, 40)
    x, weight = torch.randn(rows, inputs).bfloat16(), torch.randn(2 * half, inputs).bfloat16()
    bias = torch.randn(2 * half).bfloat16() if biased else None
    gate, up = multiply(x, weight, bias).double().chunk(2, dim=1)
    got = multiply_gated(x[None], weight, bias)
    assert got is not None
    assert got.shape == (1, rows, half)
    want = functional.silu(gate) * up
    assert ((got[0].double() - want).abs() <= 2**-8 * want.abs() + 1e-30).all()


def test_what_no_kernel_gates_at_once(needs_tiles: None) -> None:
    x, weight = torch.randn(FEW_ROWS + 9, 64).bfloat16(), torch.randn(96, 64).bfloat16()
    assert multiply_gated(x, weight, None) is not None
    assert multiply_gated(x[:FEW_ROWS], weight, None) is None
    assert multiply_gated(x, weight[:80], None) is None
    assert multiply_gated(x.float(), weight.float(), None) is None
    layer = TileLinear(64, 96, bias=False).bfloat16()
    assert layer.gated(x) is None
    layer.tiled = True
    assert torch.equal(layer.gated(x), multiply_gated(x, layer.weight, None))


@pytest.mark.parametrize("rows", [21, FEW_ROWS + 21])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_in_its_row(needs_tiles: None, bad: float, rows: int) -> None:
    x, weight, _ = some(rows)
    clean = multiply(x, weight, None)
    row = random.randrange(rows)
    x[row, random.randrange(x.shape[1])] = bad
    got = multiply(x, weight, None)
    others = torch.arange(rows) != row
    assert torch.equal(got[others], clean[others])
    assert not got[row].isfinite().any()


def test_other_numbers_sizes_and_gradients_go_torchs_way(
    needs_tiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, bias = some(5)
    cases = [
        (x.float(), weight.float(), None),
        (x, weight.T.contiguous().T, None),
        (x[:, :-1].contiguous(), weight[:, :-1].contiguous(), None),
        (x, weight[:-1], bias[:-1]),
        (x, weight, torch.stack((bias, bias), dim=1)[:, 0]),
        (x[:0], weight, bias),
    ]
    for case in cases:
        assert torch.equal(multiply(*case), functional.linear(*case))
    asked = []
    monkeypatch.setattr(functional, "linear", lambda *case: asked.append(case))
    for case in cases:
        multiply(*case)
    with torch.inference_mode(False), torch.enable_grad():
        multiply(x, weight, bias)
    assert len(asked) == len(cases) + 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_stay_in_their_output(needs_tiles: None, bad: float) -> None:
    for rows in (7, FEW_ROWS + 7):
        x, weight, bias = some(rows)
        clean = multiply(x, weight, bias)
        output = random.randrange(len(weight))
        weight[output, random.randrange(weight.shape[1])] = bad
        got = multiply(x, weight, bias)
        others = torch.arange(len(weight)) != output
        assert torch.equal(got[:, others], clean[:, others])
        assert not got[:, output].isfinite().any()


@pytest.mark.parametrize("rows", [33, FEW_ROWS + 1, FEW_ROWS + 17])
def test_nothing_is_written_behind_the_last_row(
    needs_tiles: None, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    x, weight, bias = some(rows)
    room = torch.full((rows + 32, len(weight)), 7.0).bfloat16()
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, *shape: room[:rows])
    multiply(x, weight, bias)
    assert (room[rows:] == 7).all()


def test_rows_that_lie_apart(needs_tiles: None) -> None:
    x, weight, _ = some(24)
    assert torch.equal(multiply(x[::3], weight, None), multiply(x[::3].clone(), weight, None))


@pytest.mark.parametrize("why", ["processor", "compiler"])
def test_without_tiles_layers_stay_torchs(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    class Library:
        @staticmethod
        def has_product() -> int:
            return 0

    def library() -> Library:
        if why == "compiler":
            raise NoKernels("none")
        return Library()

    monkeypatch.setattr(linear, "library", library)
    monkeypatch.setattr(linear, "_products", linear._products.__wrapped__)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), TileLinear(32, 16)).bfloat16()
    use_tiles(model)
    assert type(model[0]) is nn.Linear
    assert not model[2].tiled
    x = torch.randn(3, 64).bfloat16()
    hidden = functional.linear(x, model[0].weight, model[0].bias).relu()
    want = functional.linear(hidden, model[2].weight, model[2].bias)
    assert torch.equal(model(x), want)
    assert torch.equal(multiply(hidden, model[2].weight, model[2].bias), want)


def test_a_models_layers_use_tiles_and_keep_weights_and_hooks(
    needs_tiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16)).bfloat16()
    seen: list[torch.Tensor] = []
    model[0].register_forward_hook(lambda layer, inputs, out: seen.append(out))
    x, before, names = torch.randn(3, 64).bfloat16(), model.state_dict(), list(model.state_dict())
    want = model(x)
    use_tiles(model)
    monkeypatch.setattr(functional, "linear", no_torch)
    got = model(x)
    assert (got - want).abs().max() <= 2**-6 * (1 + want.abs().max())
    assert len(seen) == 2
    assert list(model.state_dict()) == names
    before["0.weight"].zero_()
    model(x)
    assert torch.equal(seen[-1], model[0].bias.expand(3, -1))
