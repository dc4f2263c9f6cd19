import asyncio
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clusters.artifact import ArtifactError
from clusters.execute import run_stage
from contracts.engine import Capability, EngineError, EngineRequest, SamplingParams
from serving.directory import ModelError
from serving.load import load_engine, load_model
from serving.quant.config import QuantizeConfig
from serving.quant.linear import Int4Linear, join_int4
from serving.quant.rounding import Packed, dequantize, quantize, unpack
from serving.quant.select import select
from serving.stages import STAGES
from tests.serving.conftest import as_checkpoint, make_model
from tests.serving.test_weights import make

(QUANTIZE,) = STAGES


def slow_roundtrip(weight: torch.Tensor, group: int) -> torch.Tensor:
    """Number by number, as the module's docstring says it; NaN halfway between two codes."""
    out = torch.empty_like(weight)
    for row in range(weight.shape[0]):
        for start in range(0, weight.shape[1], group):
            part = weight[row, start : start + group].tolist()
            # In fp32: what double precision rounds to bf16 may be the neighbour.
            scale = ((torch.tensor(max(part)) - min(part)) / 15).bfloat16().item()
            zero = (torch.tensor(min(part)) + 8 * scale).bfloat16().item()
            for i, value in enumerate(part):
                steps = (value - zero) / scale
                code = min(15, max(0, round(steps) + 8))
                tied = abs(steps % 1 - 0.5) < 1e-4
                out[row, start + i] = math.nan if tied else (code - 8) * scale + zero
    return out


@pytest.mark.parametrize("group", [32, 64, 128])
def test_rounding_equals_the_slow_reference(group: int) -> None:
    weight = torch.randn(5, 256) * torch.rand(5, 1).exp()
    ours = dequantize(quantize(weight, group))
    want = slow_roundtrip(weight, group)
    tied = want.isnan()
    assert tied.float().mean() < 0.02
    assert torch.allclose(ours[~tied], want[~tied], atol=1e-6)
    assert (ours - weight).abs().max() < weight.abs().max() * 2 / 15


def test_codes_survive_packing() -> None:
    codes = torch.randint(0, 16, (7, 64))
    packed = (codes[:, 0::2] | codes[:, 1::2] << 4).to(torch.uint8)
    assert torch.equal(unpack(packed), codes.int())


def test_equal_weights_are_kept_exactly() -> None:
    weight = torch.full((2, 64), 0.75)
    weight[1] = 0
    assert torch.equal(dequantize(quantize(weight, 32)), weight)


@pytest.mark.parametrize(("out", "native"), [(48, True), (50, False)])
def test_layer_equals_dequantised_multiplication(out: int, native: bool) -> None:
    weight = torch.randn(out, 128)
    packed = quantize(weight, 32)
    layer = Int4Linear(128, out, 32, bias=True)
    layer.codes.copy_(packed.codes)
    layer.scales.copy_(packed.scales)
    layer.zeros.copy_(packed.zeros)
    torch.nn.init.normal_(layer.bias)
    layer.prepare()
    assert (layer._kernel is not None) == native
    x = torch.randn(3, 5, 128).bfloat16()
    with torch.inference_mode():
        got = layer(x).float()
        want = x.float() @ dequantize(packed).T + layer.bias.float()
    assert (got - want).abs().max() < 0.02 * want.abs().max()


def packed_layer(out: int, group: int = 32) -> tuple[Int4Linear, torch.Tensor]:
    """A layer of 128 inputs and the weights its codes stand for."""
    packed = quantize(torch.randn(out, 128), group)
    layer = Int4Linear(128, out, group, bias=False)
    layer.codes.copy_(packed.codes)
    layer.scales.copy_(packed.scales)
    layer.zeros.copy_(packed.zeros)
    layer.prepare()
    return layer, dequantize(packed)


@pytest.mark.parametrize("dense_rows", [None, 3])
@pytest.mark.parametrize("last", [48, 50])
def test_joined_layers_give_the_outputs_side_by_side(last: int, dense_rows: int | None) -> None:
    pairs = [packed_layer(out) for out in (16, 32, last)]
    layers = [layer for layer, _ in pairs]
    for layer in layers:
        if dense_rows is not None:
            layer.keep_dense(dense_rows)
    joined = join_int4(layers)
    weight = torch.cat([weight for _, weight in pairs])
    for rows in (1, 5, 100):
        x = torch.randn(rows, 128).bfloat16()
        with torch.inference_mode():
            got, want = joined(x).float(), x.float() @ weight.T
        # Copies in 8 bits move single outputs by up to 0.013 of the largest.
        assert (got - want).abs().max() < 0.05 * want.abs().max()
    for layer, weight in pairs:
        assert torch.equal(dequantize(layer._packed()), weight)


def test_stage_round_trip(model_dir: Path, tmp_path: Path) -> None:
    source = as_checkpoint(model_dir, tmp_path)
    config = QuantizeConfig(group_size=32)
    made = run_stage(QUANTIZE, config, {"model": [source]}, store=tmp_path)
    again = run_stage(QUANTIZE, config, {"model": [source]}, store=tmp_path / "again")
    assert made.manifest.digest == again.manifest.digest
    stats = made.manifest.stats
    assert stats["out"]["bytes"] < 0.4 * stats["in"]["bytes"]
    assert 0.01 < stats["mean_relative_error"] < 0.15
    assert list(stats["kept"]) == ["lm_head"]
    model, original = load_model(made.path("model")), load_model(model_dir)
    for name, module in original.named_modules():
        if (
            name
            in json.loads((made.path("model") / "config.json").read_text())[
                "inkstone_quantization"
            ]["modules"]
        ):
            layer = model.get_submodule(name)
            want = dequantize(quantize(module.weight, 32))
            assert torch.equal(dequantize(layer._packed()), want)
    engine = load_engine(made.path("model"), slots=2)
    assert Capability.UPDATE not in engine.capabilities

    async def ask() -> list[int]:
        with pytest.raises(EngineError):
            await engine.update_weights({}, 1)
        request = EngineRequest("q", (5, 6, 7), SamplingParams(max_tokens=12))
        return [t async for c in engine.submit(request) for t in c.token_ids]

    tokens = asyncio.run(ask())
    engine.close()
    ids = [5, 6, 7]
    with torch.inference_mode():
        for token in tokens:
            logits = model(torch.tensor([ids])).logits[0, -1].float()
            assert logits[token] >= logits.max() - 0.05 * logits.abs().max()
            ids.append(token)


def test_tied_head_can_be_packed_too(model_dir: Path, tmp_path: Path) -> None:
    source = as_checkpoint(model_dir, tmp_path)
    config = QuantizeConfig(group_size=64, quantize_lm_head=True)
    made = run_stage(QUANTIZE, config, {"model": [source]}, store=tmp_path)
    model = load_model(made.path("model"))
    assert isinstance(model.lm_head, Int4Linear)
    want = dequantize(quantize(load_model(model_dir).model.embed_tokens.weight, 64))
    assert torch.equal(dequantize(model.lm_head._packed()), want)


def test_odd_shapes_stay_and_are_named(tmp_path: Path) -> None:
    odd = make_model(tmp_path / "odd", intermediate_size=150)
    source = as_checkpoint(odd, tmp_path)
    made = run_stage(QUANTIZE, QuantizeConfig(group_size=64), {"model": [source]}, store=tmp_path)
    kept = made.manifest.stats["kept"]
    assert {name for name in kept if name.endswith("down_proj")} == {
        f"model.layers.{i}.mlp.down_proj" for i in range(3)
    }
    assert "150 inputs" in kept["model.layers.0.mlp.down_proj"]
    load_engine(made.path("model"), slots=1).close()


def test_plain_transformers_refuses_packed_weights(model_dir: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source = as_checkpoint(model_dir, tmp_path)
    made = run_stage(QUANTIZE, QuantizeConfig(), {"model": [source]}, store=tmp_path)
    with pytest.raises(OSError, match="no file named"):
        AutoModelForCausalLM.from_pretrained(made.path("model"))


def test_config_that_names_no_linear_module(model_dir: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(model_dir, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    config["inkstone_quantization"] = {"bits": 4, "group_size": 32, "modules": ["model.norm"]}
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"model\.norm"):
        load_model(broken)


def test_configs_that_say_nothing_sensible(model_dir: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    shutil.copytree(model_dir, odd)
    config = json.loads((model_dir / "config.json").read_text())

    def write(**changes: object) -> None:
        (odd / "config.json").write_text(json.dumps({**config, **changes}))

    write(inkstone_quantization={"group_size": "many", "modules": []})
    with pytest.raises(ModelError, match=r"inkstone_quantization\.group_size: "):
        load_model(odd)
    for changes, says in (
        ({"model_type": "nonsense"}, "nonsense"),
        ({"model_type": "vit"}, "no causal language model"),
        ({"dtype": "float99"}, "float99"),
    ):
        write(**changes)
        with pytest.raises(ModelError, match=says) as caught:
            select(odd, QuantizeConfig())
        assert isinstance(caught.value, ArtifactError)


def test_a_damaged_index_is_named(model_dir: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    shutil.copytree(model_dir, odd)
    for text in ("{", "[]", "{}", '{"weight_map": 3}'):
        (odd / "model.safetensors.index.json").write_text(text)
        with pytest.raises(ModelError, match=r"index\.json: damaged"):
            load_model(odd)


def test_packed_bytes() -> None:
    packed = quantize(torch.randn(16, 128), 64)
    assert isinstance(packed, Packed)
    assert packed.nbytes == 16 * 64 + 2 * 16 * 2 * 2


PLACES = [
    "unit.quantize.before_publish",
    "unit.quantize.after_publish",
    "serving.quantize.before_config",
]


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_killed_at_each_place(model_dir: Path, tmp_path: Path, place: str) -> None:
    kill_and_resume(model_dir, tmp_path, place)


def test_killed_anywhere_gives_the_same_bytes(model_dir: Path, tmp_path: Path) -> None:
    kill_and_resume(model_dir, tmp_path, random.choice(PLACES))


def kill_and_resume(model_dir: Path, tmp_path: Path, place: str) -> None:
    from transformers import LlamaForCausalLM

    sharded = tmp_path / "sharded"
    shutil.copytree(model_dir, sharded)
    (sharded / "model.safetensors").unlink()
    LlamaForCausalLM.from_pretrained(model_dir).save_pretrained(sharded, max_shard_size="200KB")
    source = as_checkpoint(sharded, tmp_path)
    assert len(list(source.path("model").glob("*.safetensors"))) > 2
    whole = run_stage(QUANTIZE, QuantizeConfig(), {"model": [source]}, store=tmp_path / "whole")
    token = tmp_path / "token"
    token.touch()
    code = (
        "import sys; from pathlib import Path; from clusters.artifact import Artifact\n"
        "from clusters.execute import run_stage; from serving.stages import STAGES\n"
        "from serving.quant.config import QuantizeConfig\n"
        "made = run_stage(STAGES[0], QuantizeConfig(),\n"
        "    {'model': [Artifact.open(sys.argv[1])]}, store=Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", code, str(source.directory), str(tmp_path / "killed")]
    environment = {
        **os.environ,
        "INKSTONE_FAILPOINT": f"{place}:{token}",
        "PYTHONPATH": os.getcwd(),
    }
    killed = subprocess.run(command, env=environment, timeout=500, check=False)
    assert killed.returncode == -signal.SIGKILL
    resumed = run_stage(QUANTIZE, QuantizeConfig(), {"model": [source]}, store=tmp_path / "killed")
    assert resumed.manifest.digest == whole.manifest.digest
    assert resumed.manifest.stats == whole.manifest.stats
    load_engine(resumed.path("model"), slots=1).close()


def test_experts_in_files_of_their_own_names_are_not_packed(tmp_path: Path) -> None:
    path = make("mixtral", tmp_path, num_local_experts=2)
    with pytest.raises(ModelError, match="mixtral: its files name weights otherwise"):
        select(path, QuantizeConfig(group_size=32))


def test_what_the_engine_cannot_run_is_not_packed_either(tmp_path: Path) -> None:
    path = make("gemma2", tmp_path, head_dim=16)
    with pytest.raises(ModelError, match="sliding-window attention is not supported"):
        select(path, QuantizeConfig(group_size=32))
