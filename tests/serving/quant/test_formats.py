from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from clusters.execute import run_stage
from serving.load import load_engine, load_model
from serving.quant.config import QuantizeConfig
from serving.quant.int8 import Int8Linear, dequantize_int8, quantize_int8
from serving.quant.nf4 import Nf4Linear, dequantize_nf4, quantize_nf4
from serving.stages import STAGES
from tests.serving.conftest import as_checkpoint
from tests.serving.quant.greedy import assert_near_greedy

QUANTIZE = next(stage for stage in STAGES if stage.name == "serving.quantize")
# Appendix E of arXiv:2305.14314.
NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def test_int8_equals_the_slow_reference() -> None:
    weight = torch.randn(5, 70) * torch.rand(5, 1).exp()
    weight[3] = 0
    codes, scales = quantize_int8(weight)
    ours = dequantize_int8(codes, scales)
    for row in range(5):
        scale = torch.tensor(max(map(abs, weight[row].tolist())) / 127).bfloat16().item() or 1.0
        for column, value in enumerate(weight[row].tolist()):
            want = max(-127, min(127, round(value / scale))) * scale
            if abs(value / scale % 1 - 0.5) < 1e-4:
                continue  # halfway between two codes a last bit decides
            assert ours[row, column].item() == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize(("out", "inputs"), [(48, 64), (33, 40)])
def test_int8_layer_equals_dequantised_multiplication(rows: int, out: int, inputs: int) -> None:
    codes, scales = quantize_int8(torch.randn(out, inputs))
    layer = Int8Linear(inputs, out, bias=True)
    layer.codes.copy_(codes)
    layer.scales.copy_(scales)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(rows, inputs).bfloat16()
    with torch.inference_mode():
        got = layer(x[:, None])[:, 0].float()
        want = x.float() @ dequantize_int8(codes, scales).T + layer.bias.float()
    assert (got - want).abs().max() < 0.02 * want.abs().max()


@pytest.mark.parametrize("block", [32, 64, 128])
def test_nf4_takes_the_nearest_quantile(block: int) -> None:
    weight = torch.randn(6, 256)
    codes, largest = quantize_nf4(weight, block)
    assert codes.shape == (6, 128)
    ours = dequantize_nf4(codes, largest)
    for row in range(6):
        for start in range(0, 256, block):
            part = weight[row, start : start + block].tolist()
            most = max(map(abs, part))
            assert largest[row, start // block].item() == pytest.approx(most)
            for i, value in enumerate(part):
                near, other = sorted(NF4, key=lambda q, v=value, m=most: abs(q - v / m))[:2]
                if abs(near + other - 2 * value / most) < 1e-5:
                    continue  # halfway between two a last bit decides
                assert ours[row, start + i].item() == pytest.approx(near * most, abs=1e-5)


def test_nf4_layer_equals_dequantised_multiplication() -> None:
    codes, largest = quantize_nf4(torch.randn(24, 128), 64)
    layer = Nf4Linear(128, 24, 64, bias=False)
    layer.codes.copy_(codes)
    layer.largest.copy_(largest)
    x = torch.randn(2, 3, 128).bfloat16()
    want = x.float() @ dequantize_nf4(codes, largest).T
    assert (layer(x).float() - want).abs().max() < 0.02 * want.abs().max()


@pytest.mark.parametrize(
    ("config", "size", "written_out"),
    [
        ({"bits": 8}, 0.8, lambda weight: dequantize_int8(*quantize_int8(weight))),
        (
            {"method": "nf4", "group_size": 32},
            0.7,
            lambda weight: dequantize_nf4(*quantize_nf4(weight, 32)),
        ),
    ],
)
def test_stage_and_engine(
    bf16_dir: Path,
    tmp_path: Path,
    config: dict,
    size: float,
    written_out: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    source = as_checkpoint(bf16_dir, tmp_path)
    asked = QuantizeConfig.model_validate(config)
    made = run_stage(QUANTIZE, asked, {"model": [source]}, store=tmp_path)
    again = run_stage(QUANTIZE, asked, {"model": [source]}, store=tmp_path / "again")
    assert made.manifest.digest == again.manifest.digest
    stats = made.manifest.stats
    assert stats["out"]["bytes"] < size * stats["in"]["bytes"]
    model, rounded = load_model(made.path("model")), load_model(bf16_dir).float()
    for layer in rounded.model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data = written_out(layer.weight.data)
    ids = torch.randint(0, 256, (2, 40))
    with torch.inference_mode():
        got, want = model(ids).logits.float(), rounded(ids).logits.float()
    # Activations in bf16 make 0.02 of it, weights rounded otherwise 0.6, other weights 1.4.
    assert (got - want).norm() < 0.3 * want.norm()
    engine = load_engine(made.path("model"), slots=2)
    tokens = assert_near_greedy(engine, model, count=12, slack=0.05)
    engine.close()
    assert len(tokens) == 12


def test_eight_bits_go_with_plain_rounding_alone() -> None:
    with pytest.raises(ValueError, match="8 goes with method rtn, not nf4"):
        QuantizeConfig(bits=8, method="nf4")
