import copy
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, Qwen2Config
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2RotaryEmbedding

from clusters.config import ConfigError
from clusters.execute import run_stage
from clusters.stage import StageError
from serving.directory import ModelError
from serving.load import load_engine, load_model
from serving.quant.awq.layer import FOLDS, Seen, Watch, move_scales, pack_layer
from serving.quant.awq.search import output_change, search_clipping, search_scales
from serving.quant.awq.walk import LayerWalk
from serving.quant.config import QuantizeConfig
from serving.quant.rounding import dequantize, quantize, rounded
from serving.stages import STAGES
from tests.serving.conftest import as_checkpoint, make_model
from tests.serving.quant.conftest import as_tokens

QUANTIZE = next(stage for stage in STAGES if stage.name == "serving.quantize")


def test_output_change_is_what_the_outputs_change() -> None:
    x, change = torch.randn(50, 24), torch.randn(7, 24)
    want = (x @ change.T).square().sum().item()
    assert output_change(change, x.T @ x) == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("group", [32, 64])
def test_scales_keep_loud_inputs(group: int) -> None:
    x = torch.randn(200, 128)
    x[:, torch.randperm(128)[:3]] *= 30
    weights = [torch.randn(20, 128), torch.randn(40, 128)]
    gram = x.T @ x
    factors = search_scales(weights, gram, x.abs().mean(dim=0), group)
    assert factors.shape == (128,)
    assert (factors > 0).all()
    plain = sum(output_change(rounded(w, group) - w, gram) for w in weights)
    ours = sum(output_change(rounded(w * factors, group) / factors - w, gram) for w in weights)
    assert ours < 0.5 * plain


def test_clipping_is_the_best_share_of_each_group() -> None:
    x, weight = torch.randn(60, 64), torch.randn(16, 64) ** 3
    gram = x.T @ x
    shares = search_clipping(weight, gram, 32)
    for row in range(16):
        for group in range(2):
            columns = slice(32 * group, 32 * group + 32)
            piece = weight[row : row + 1, columns]

            def cost(share: float, piece: torch.Tensor = piece, at: slice = columns) -> float:
                change = rounded(piece, 32, torch.tensor([[share]])) - piece
                return (x[:, at] @ change.T).square().sum().item()

            tried = [cost(1 - 0.05 * step) for step in range(11)]
            assert cost(shares[row, group].item()) == pytest.approx(min(tried), rel=1e-3)
    assert (shares < 1).any()


def decoder_layer(kv_heads: int, qwen: bool) -> tuple[torch.nn.Module, object]:
    sizes = dict(
        hidden_size=64,
        intermediate_size=96,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        vocab_size=10,
        num_hidden_layers=1,
        attn_implementation="sdpa",
    )
    kind = (Qwen2Config, Qwen2DecoderLayer, Qwen2RotaryEmbedding) if qwen else None
    config_of, layer_of, rotary_of = kind or (LlamaConfig, LlamaDecoderLayer, LlamaRotaryEmbedding)
    config = config_of(**sizes)
    layer = layer_of(config, 0).eval()
    for name, parameter in layer.named_parameters():
        scale = 1.0 if "norm" in name else 0.2
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.3 * scale)
    rotary = rotary_of(config)
    return layer, rotary


@torch.inference_mode()
def outputs(layer: torch.nn.Module, rotary: object, x: torch.Tensor) -> torch.Tensor:
    angles = rotary(x, torch.arange(x.shape[1])[None])  # type: ignore[operator]
    out = layer(x, position_embeddings=angles)
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("qwen", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_moved_scales_change_no_output(kv_heads: int, qwen: bool) -> None:
    layer, rotary = decoder_layer(kv_heads, qwen)
    x = torch.randn(2, 9, 64)
    watch = Watch(layer)
    want = outputs(layer, rotary, x)
    seen = watch.close()
    weights = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    for fold in FOLDS:
        # As if some inputs were much louder than random weights make them.
        magnitude = seen[fold.source].magnitude.clone()
        magnitude[torch.randperm(len(magnitude))[:4]] *= 50
        loud = Seen(magnitude.square().diag(), magnitude)
        factors = move_scales(weights, fold, loud, 32, 16)
        assert factors.max() > 1.2 * factors.min()
    moved = copy.deepcopy(layer)
    moved.load_state_dict(weights)
    assert not torch.equal(weights["mlp.up_proj.weight"], layer.state_dict()["mlp.up_proj.weight"])
    got = outputs(moved, rotary, x)
    assert torch.allclose(got, want, atol=2e-4 * want.abs().max().item())


def test_watching_sums_over_all_tokens() -> None:
    layer, rotary = decoder_layer(2, False)
    watch = Watch(layer)
    inputs: list[torch.Tensor] = []
    hook = layer.mlp.down_proj.register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
    for _ in range(2):
        outputs(layer, rotary, torch.randn(1, 7, 64))
    hook.remove()
    seen = watch.close()["mlp.up_proj"]
    rows = torch.cat([x[0] for x in inputs])
    assert len(rows) == 14
    assert torch.allclose(seen.gram, rows.T @ rows / 14, atol=1e-4)
    assert torch.allclose(seen.magnitude, rows.abs().mean(dim=0), atol=1e-5)


def test_a_layer_changes_less_than_with_plain_rounding() -> None:
    layer, rotary = decoder_layer(2, False)
    with torch.no_grad():
        layer.input_layernorm.weight[:3] *= 20
        layer.post_attention_layernorm.weight[5:8] *= 20
    x = torch.randn(4, 32, 64)
    watch = Watch(layer)
    want = outputs(layer, rotary, x)
    seen = watch.close()
    original = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    packed = [reader for fold in FOLDS for reader in fold.readers]
    kept, made, errors = pack_layer(dict(original), seen, packed, 32, 16)
    assert set(errors) == set(packed) == set(made)
    searched = kept | {f"{name}.weight": dequantize(p) for name, p in made.items()}
    plain = original | {
        f"{name}.weight": dequantize(quantize(original[f"{name}.weight"], 32)) for name in packed
    }
    changes = []
    for state in (searched, plain):
        layer.load_state_dict(state)
        changes.append((outputs(layer, rotary, x) - want).norm().item())
    assert changes[0] < 0.8 * changes[1]


def logits_change(original: Path, packed: Path, windows: list[list[int]]) -> float:
    ids = torch.tensor(windows)
    with torch.inference_mode():
        want = load_model(original)(ids).logits.float()
        got = load_model(packed)(ids).logits.float()
    return ((got - want).norm() / want.norm()).item()


CONFIG = {"method": "awq", "group_size": 32, "calibration": {"windows": 8, "window": 64}}


def test_stage_with_calibration(loud_dir: Path, tmp_path: Path) -> None:
    source = as_checkpoint(loud_dir, tmp_path)
    tokens = as_tokens(loud_dir, tmp_path, 4000)
    config = QuantizeConfig.model_validate(CONFIG)
    inputs = {"model": [source], "calibration": [tokens]}
    made = run_stage(QUANTIZE, config, inputs, store=tmp_path)
    plain = run_stage(QUANTIZE, QuantizeConfig(group_size=32), {"model": [source]}, store=tmp_path)
    ids = torch.randint(0, 256, (4, 64)).tolist()
    searched, rounded_ = (logits_change(loud_dir, m.path("model"), ids) for m in (made, plain))
    assert searched < 0.8 * rounded_
    load_engine(made.path("model"), slots=1).close()


PLACES = ["unit.quantize.before_publish", "unit.quantize.after_publish"]


@pytest.mark.slow
def test_a_killed_search_goes_on(loud_dir: Path, tmp_path: Path) -> None:
    source = as_checkpoint(loud_dir, tmp_path)
    tokens = as_tokens(loud_dir, tmp_path, 1000)
    config = QuantizeConfig.model_validate(CONFIG)
    inputs = {"model": [source], "calibration": [tokens]}
    whole = run_stage(QUANTIZE, config, inputs, store=tmp_path / "whole")
    code = (
        "import sys; from pathlib import Path; from clusters.artifact import Artifact\n"
        "from clusters.execute import run_stage; from serving.stages import STAGES\n"
        "from serving.quant.config import QuantizeConfig\n"
        f"config = QuantizeConfig.model_validate({CONFIG!r})\n"
        "inputs = {'model': [Artifact.open(sys.argv[1])],\n"
        "    'calibration': [Artifact.open(sys.argv[2])]}\n"
        "run_stage(STAGES[0], config, inputs, store=Path(sys.argv[3]))\n"
    )
    killed_store = tmp_path / "killed"
    command = [sys.executable, "-c", code, str(source.directory), str(tokens.directory)]
    for place in PLACES:  # each kill gets one piece further
        token = tmp_path / place
        token.touch()
        environment = os.environ | {
            "INKSTONE_FAILPOINT": f"{place}:{token}",
            "PYTHONPATH": os.getcwd(),
        }
        killed = subprocess.run(
            [*command, str(killed_store)], env=environment, timeout=500, check=False
        )
        assert killed.returncode == -signal.SIGKILL
    resumed = run_stage(QUANTIZE, config, inputs, store=killed_store)
    assert resumed.manifest.digest == whole.manifest.digest
    assert resumed.manifest.stats == whole.manifest.stats


def test_text_that_is_missing_short_or_foreign(loud_dir: Path, tmp_path: Path) -> None:
    source = as_checkpoint(loud_dir, tmp_path)
    config = QuantizeConfig.model_validate(CONFIG)
    with pytest.raises(StageError, match="input `calibration`, or take method rtn"):
        run_stage(QUANTIZE, config, {"model": [source]}, store=tmp_path)
    short = as_tokens(loud_dir, tmp_path / "short", 200)
    with pytest.raises(ConfigError, match="200 tokens, at least 256 are needed"):
        run_stage(QUANTIZE, config, {"model": [source], "calibration": [short]}, store=tmp_path)
    other = make_model(tmp_path / "other", vocab_size=448)
    (other / "tokenizer.json").write_text("{}")
    foreign = as_tokens(other, tmp_path / "foreign", 4000)
    with pytest.raises(ConfigError, match="made with another tokenizer"):
        run_stage(QUANTIZE, config, {"model": [source], "calibration": [foreign]}, store=tmp_path)
    with pytest.raises(ModelError, match="token 9999, the model"):
        LayerWalk(loud_dir, [[1, 9999]])


def test_families_without_known_places(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=32, vocab_size=50)).save_pretrained(
        tmp_path / "gpt2"
    )
    with pytest.raises(ModelError, match=r"gpt2: method awq knows .* take method rtn"):
        LayerWalk(tmp_path / "gpt2", [[1, 2, 3]])


def test_weights_that_do_not_match(loud_dir: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(loud_dir, broken)
    weights = load_file(broken / "model.safetensors")
    short = weights["model.layers.0.mlp.up_proj.weight"][:-16].contiguous()
    weights["model.layers.0.mlp.up_proj.weight"] = short
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    walk = LayerWalk(broken, [[1, 2, 3]])
    with pytest.raises(ModelError, match=r"model\.layers\.0: .*up_proj"):
        walk.step(0, watch=True)
    (broken / "model.safetensors").write_bytes(b"\x10\x00\x00")
    with pytest.raises(ModelError, match="damaged or half written"):
        LayerWalk(broken, [[1, 2, 3]])
