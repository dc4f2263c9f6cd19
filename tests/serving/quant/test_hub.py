"""Checkpoints packed number by number, as the layouts are published, and loaded again."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from contracts.engine import Capability
from serving.directory import ModelError
from serving.load import load_engine, load_model
from serving.quant.config import QuantizeConfig
from serving.quant.hub.config import Scheme
from serving.quant.hub.layouts import unpack_awq, unpack_gptq
from serving.quant.hub.weights import OrderedLinear, repacked
from serving.quant.linear import Int4Linear
from serving.quant.rounding import Packed, dequantize
from serving.quant.select import select
from tests.serving.conftest import make_model
from tests.serving.quant.greedy import assert_near_greedy

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
Tensors = dict[str, torch.Tensor]


def signed(word: int) -> int:
    """A 32-bit pattern as the int32 that has it."""
    return word - (1 << 32) if word >= 1 << 31 else word


def words_of(rows: list[list[int]], order: list[int]) -> torch.Tensor:
    """Eight numbers of each row to the word; the i-th nibble holds number ``order[i]``."""
    packed = []
    for row in rows:
        words = []
        for start in range(0, len(row), 8):
            word = 0
            for nibble, place in enumerate(order):
                word |= row[start + place] << (4 * nibble)
            words.append(signed(word))
        packed.append(words)
    return torch.tensor(packed, dtype=torch.int32)


def random_parts(out: int, inputs: int, groups: int) -> tuple[Any, Any, torch.Tensor]:
    """Codes (out, in), zero points (groups, out), scales (groups, out)."""
    codes = torch.randint(0, 16, (out, inputs)).tolist()
    points = torch.randint(1, 16, (groups, out)).tolist()
    scales = (torch.rand(groups, out) * 0.02 + 0.01).half()
    return codes, points, scales


def gptq_tensors(
    codes: Any, points: Any, scales: torch.Tensor, index: list[int], offset: int
) -> Tensors:
    columns = [list(column) for column in zip(*codes, strict=True)]  # (in, out)
    by_word = [[row[o] for row in columns] for o in range(len(codes))]  # (out, in)
    qweight = words_of(by_word, list(range(8))).T.contiguous()
    stored = [[point - offset for point in row] for row in points]
    return {
        "qweight": qweight,
        "qzeros": words_of(stored, list(range(8))),
        "scales": scales,
        "g_idx": torch.tensor(index, dtype=torch.int32),
    }


def awq_tensors(codes: Any, points: Any, scales: torch.Tensor) -> Tensors:
    columns = [list(column) for column in zip(*codes, strict=True)]
    return {
        "qweight": words_of(columns, AWQ_ORDER),
        "qzeros": words_of(points, AWQ_ORDER),
        "scales": scales,
    }


def slow_weight(codes: Any, points: Any, scales: torch.Tensor, index: list[int]) -> torch.Tensor:
    weight = torch.empty(len(codes), len(codes[0]))
    for o, row in enumerate(codes):
        for i, code in enumerate(row):
            group = index[i]
            weight[o, i] = (code - points[group][o]) * scales[group, o].item()
    return weight


@pytest.mark.parametrize("offset", [0, 1])
def test_gptq_words_unpack_exactly(offset: int) -> None:
    codes, points, scales = random_parts(16, 64, 2)
    parts = gptq_tensors(codes, points, scales, [i // 32 for i in range(64)], offset)
    parts.pop("g_idx")
    found = unpack_gptq(**parts, zero_offset=offset)
    assert found.codes.tolist() == codes
    assert found.points.T.tolist() == points
    assert torch.equal(found.scales.T, scales)


def test_awq_words_unpack_exactly() -> None:
    codes, points, scales = random_parts(24, 64, 2)
    found = unpack_awq(**awq_tensors(codes, points, scales))
    assert found.codes.tolist() == codes
    assert found.points.T.tolist() == points


@pytest.mark.parametrize(("inputs", "group"), [(256, 128), (256, 64), (256, -1), (256, 256)])
def test_repacking_keeps_codes_and_nearly_all_of_the_weight(inputs: int, group: int) -> None:
    size = inputs if group == -1 else group
    codes, points, scales = random_parts(16, inputs, inputs // size)
    index = [i // size for i in range(inputs)]
    found = unpack_awq(**awq_tensors(codes, points, scales))
    packed = Packed(**repacked(found, Scheme("awq", group)))
    step = scales.float().T.repeat_interleave(size, dim=1)
    gap = (dequantize(packed) - slow_weight(codes, points, scales, index)).abs()
    assert (gap / step).max() < 23 / 256  # 15 steps and 8 steps, each off by at most 1 / 256
    exact = Packed(**repacked(type(found)(found.codes, found.points, found.scales * 0 + 0.25),
                              Scheme("awq", group)))  # fmt: skip
    quarters = slow_weight(codes, points, scales * 0 + 0.25, index)
    assert torch.equal(dequantize(exact), quarters)


SIZES = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}


def make_hub(path: Path, method: str, *, ordered: bool = False, group: int = 64) -> Path:
    """A tiny model in a hub layout; ``dense.safetensors`` beside it holds the plain weights."""
    make_model(path, seed=5, dtype="float16", **SIZES)
    weights = load_file(path / "model.safetensors")
    dense = dict(weights)
    for name in select(path, QuantizeConfig()).packed:
        out, inputs = weights.pop(f"{name}.weight").shape
        codes, points, scales = random_parts(out, inputs, inputs // group)
        index = [i // group for i in range(inputs)]
        if ordered:
            index = [index[i] for i in torch.randperm(inputs).tolist()]
        parts = (
            awq_tensors(codes, points, scales)
            if method == "awq"
            else gptq_tensors(codes, points, scales, index, 1)
        )
        weights |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
        dense[f"{name}.weight"] = slow_weight(codes, points, scales, index)
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((path / "config.json").read_text())
    said: dict[str, Any] = {"quant_method": method, "bits": 4, "group_size": group}
    said |= {"version": "gemm", "zero_point": True} if method == "awq" else {"desc_act": ordered}
    (path / "config.json").write_text(json.dumps(config | {"quantization_config": said}))
    (path.parent / "dense").mkdir(exist_ok=True)
    save_file(dense, path.parent / "dense" / f"{path.name}.safetensors")
    return path


@pytest.mark.parametrize(
    ("method", "ordered", "group"),
    [("awq", False, 64), ("gptq", False, 128), ("gptq", True, 64)],
)
def test_engine_over_a_hub_checkpoint(
    tmp_path: Path, method: str, ordered: bool, group: int
) -> None:
    path = make_hub(tmp_path / "hub", method, ordered=ordered, group=group)
    plain = make_model(tmp_path / "plain", seed=5, dtype="bfloat16", **SIZES)
    dense = load_file(tmp_path / "dense" / "hub.safetensors")
    save_file(
        {name: tensor.bfloat16() for name, tensor in dense.items()},
        plain / "model.safetensors",
        metadata={"format": "pt"},
    )
    model, reference = load_model(path), load_model(plain)
    kind = OrderedLinear if ordered else Int4Linear
    assert isinstance(model.model.layers[0].mlp.up_proj, kind)
    ids = torch.randint(0, 256, (2, 30))
    with torch.inference_mode():
        got, want = model(ids).logits.float(), reference(ids).logits.float()
    # Two ways of rounding to bf16 differ by up to 0.05, other weights by 1.4.
    assert (got - want).norm() < 0.3 * want.norm()
    engine = load_engine(path, slots=2)
    assert Capability.UPDATE not in engine.capabilities
    assert_near_greedy(engine, reference, count=8, slack=0.1)
    engine.close()


def test_checkpoints_that_cannot_be_read(tmp_path: Path) -> None:
    good = make_hub(tmp_path / "hub", "gptq")
    config = json.loads((good / "config.json").read_text())
    said = config["quantization_config"]

    def broken(**changes: object) -> Path:
        text = json.dumps(config | {"quantization_config": {**said, **changes}})
        (good / "config.json").write_text(text)
        return good

    for changes, says in (
        ({"quant_method": "aqlm"}, r"quant_method: 'aqlm': known are awq, gptq; load the bf16"),
        ({"bits": 3}, r"bits: 3: 4 alone"),
        ({"group_size": 48}, r"group_size: 48: -1 or a multiple of 32"),
        ({"quant_method": "awq", "version": "gemv"}, r"awq of layout 'gemv': known are gemm"),
        ({"checkpoint_format": "marlin"}, r"gptq of layout 'marlin'"),
        ({"group_size": 32}, r"4 groups of 128 outputs; .* need 8 of 128"),
    ):
        with pytest.raises(ModelError, match=says):
            load_model(broken(**changes))
    broken()
    weights = load_file(good / "model.safetensors")
    name = "model.layers.0.mlp.up_proj"

    def stored(changed: Tensors) -> Path:
        save_file(changed, good / "model.safetensors", metadata={"format": "pt"})
        return good

    index = weights[f"{name}.g_idx"]
    for part, tensor, says in (
        ("qzeros", None, r"up_proj\.qzeros' is missing"),
        ("qweight", weights[f"{name}.qweight"][:-1].contiguous(), r"qweight"),
        ("g_idx", index.flip(0).contiguous(), r"inputs are reordered, but desc_act is not set"),
        ("g_idx", torch.zeros_like(index), r"groups are not of 64 inputs each"),
    ):
        changed = dict(weights)
        changed.pop(f"{name}.{part}")
        if tensor is not None:
            changed[f"{name}.{part}"] = tensor
        with pytest.raises(ModelError, match=says):
            load_model(stored(changed))
    plain = {n: t for n, t in load_file(tmp_path / "dense" / "hub.safetensors").items()}
    with pytest.raises(ModelError, match=r"no \.qweight is in it"):
        load_model(stored({n: t.half() for n, t in plain.items()}))


def test_packed_weights_are_not_packed_again(tmp_path: Path) -> None:
    path = make_hub(tmp_path / "hub", "awq")
    with pytest.raises(ModelError, match="packed already; start from the bf16"):
        select(path, QuantizeConfig())
    shutil.rmtree(path)
