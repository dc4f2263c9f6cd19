"""InternLM2 checkpoints as Llama's and back: the same network, the same bits."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

from clusters.config import ConfigError
from tests.trainer.convert.reference import internlm2_logits
from trainer.cli import app
from trainer.convert.layouts import convert
from trainer.convert.safetensors_files import INDEX_NAME, TensorFolder

CONFIG = {
    "architectures": ["InternLM2ForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_internlm2.InternLM2Config"},
    "model_type": "internlm2",
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000,
    "bias": False,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
}


def internlm2_weights(bias: bool, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    width, mlp, vocab = 24, 40, 61
    shapes: dict[str, tuple[int, ...]] = {
        "model.tok_embeddings.weight": (vocab, width),
        "model.norm.weight": (width,),
        "output.weight": (vocab, width),
    }
    for layer in range(2):
        at = f"model.layers.{layer}."
        shapes[at + "attention.wqkv.weight"] = ((6 + 2 * 2) * 4, width)
        shapes[at + "attention.wo.weight"] = (width, width)
        if bias:
            shapes[at + "attention.wqkv.bias"] = ((6 + 2 * 2) * 4,)
            shapes[at + "attention.wo.bias"] = (width,)
        shapes[at + "feed_forward.w1.weight"] = shapes[at + "feed_forward.w3.weight"] = (mlp, width)
        shapes[at + "feed_forward.w2.weight"] = (width, mlp)
        shapes[at + "attention_norm.weight"] = shapes[at + "ffn_norm.weight"] = (width,)
    return {name: (torch.randn(shape) * 0.3).to(dtype) for name, shape in shapes.items()}


def write_internlm2(
    folder: Path, bias: bool = False, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """An InternLM2 checkpoint in two files, as its makers publish them."""
    weights = internlm2_weights(bias, dtype)
    folder.mkdir(parents=True)
    names = list(weights)
    random.shuffle(names)
    places = {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
        places.update(dict.fromkeys(part, file))
    (folder / INDEX_NAME).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "config.json").write_text(json.dumps({**CONFIG, "bias": bias}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "modeling_internlm2.py").write_text("raise AssertionError")
    return weights


def bits(folder: Path) -> dict[str, bytes]:
    """Every tensor's bytes, by safetensors itself."""
    found = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                tensor = file.get_tensor(name)
                found[name] = (
                    str(tensor.dtype).encode() + tensor.view(torch.uint8).numpy().tobytes()
                )
    return found


@pytest.mark.parametrize("bias", [False, True])
def test_the_llama_that_plain_transformers_loads_is_the_same_network(tmp_path: Path, bias: bool):
    from transformers import AutoModelForCausalLM

    weights = write_internlm2(tmp_path / "in", bias)
    convert(tmp_path / "in", tmp_path / "out", "llama")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float64)
    assert type(model).__name__ == "LlamaForCausalLM"
    ids = random.choices(range(61), k=11)
    with torch.no_grad():
        found = model(torch.tensor([ids])).logits[0]
    wanted = internlm2_logits(weights, CONFIG, ids)
    torch.testing.assert_close(found, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_there_and_back_are_the_same_bits(tmp_path: Path, dtype: torch.dtype):
    weights = write_internlm2(tmp_path / "in", bias=True, dtype=dtype)
    odd = torch.tensor([float("nan"), float("inf"), -0.0], dtype=dtype)
    weights["model.norm.weight"][:3] = odd  # values that arithmetic would not keep
    for name in (tmp_path / "in").glob("*.safetensors"):
        name.unlink()
    (tmp_path / "in" / INDEX_NAME).unlink()
    save_file(weights, tmp_path / "in" / "model.safetensors")
    made = convert(tmp_path / "in", tmp_path / "llama", "llama", shard_bytes=4000)
    assert made["parameters"] == sum(tensor.numel() for tensor in weights.values())
    index = json.loads((tmp_path / "llama" / INDEX_NAME).read_text())
    assert set(index["weight_map"]) == set(bits(tmp_path / "llama"))
    assert index["metadata"]["total_size"] == made["bytes"]
    assert len(set(index["weight_map"].values())) > 2
    convert(tmp_path / "llama", tmp_path / "back", "internlm2", shard_bytes=9000)
    assert bits(tmp_path / "back") == bits(tmp_path / "in")
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert (config["model_type"], config["bias"]) == ("internlm2", True)
    assert {k: config[k] for k in CONFIG if k not in ("auto_map", "bias")} == {
        k: CONFIG[k] for k in CONFIG if k not in ("auto_map", "bias")
    }


def test_queries_keys_and_values_in_different_files_find_each_other(tmp_path: Path):
    write_internlm2(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "llama", "llama", shard_bytes=1)  # a tensor each
    convert(tmp_path / "llama", tmp_path / "back", "internlm2")
    assert bits(tmp_path / "back") == bits(tmp_path / "in")


def test_a_model_saved_by_transformers_converts_and_comes_back(tmp_path: Path):
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5},
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b", "internlm2")
    said = json.loads((tmp_path / "b" / "config.json").read_text())
    assert said["rope_theta"] == 5e5
    ids = random.choices(range(61), k=7)
    folder = TensorFolder(tmp_path / "b")
    found = internlm2_logits({name: folder.read(name) for name in folder.tensors}, said, ids)
    convert(tmp_path / "b", tmp_path / "c", "llama")
    for place in ("a", "c"):
        model = AutoModelForCausalLM.from_pretrained(tmp_path / place, dtype=torch.float64)
        with torch.no_grad():
            wanted = model(torch.tensor([ids])).logits[0]
        torch.testing.assert_close(found, wanted, rtol=2e-5, atol=2e-5)


def test_the_verb_reports_and_keeps_the_tokenizer(tmp_path: Path):
    weights = write_internlm2(tmp_path / "in")
    arguments = ["convert", str(tmp_path / "in"), str(tmp_path / "out"), "--to", "llama", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["parameters"] == sum(t.numel() for t in weights.values())
    kept = {path.name for path in (tmp_path / "out").iterdir()}
    assert kept == {"config.json", "tokenizer.json", "model.safetensors"}


@pytest.mark.parametrize(
    ("damage", "to", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "llama", r"config\.json: missing"),
        (lambda f: None, "internlm2", "model_type 'internlm2', this way takes 'llama'"),
        (lambda f: None, "gpt", "--to 'gpt': expected one of llama, internlm2"),
        (lambda f: next(f.glob("*.safetensors")).unlink(), "llama", "safetensors: missing"),
        (lambda f: next(f.glob("*.safetensors")).write_bytes(b"x"), "llama", "damaged"),
        (lambda f: _spoil(f, num_key_value_heads=3), "llama", "40 rows, config.json says 48"),
        (lambda f: _spoil(f, num_attention_heads=0), "llama", "num_attention_heads: missing"),
        (lambda f: _spoil(f, num_key_value_heads=4), "llama", "4 does not divide num_attention"),
        (lambda f: _spoil(f, hidden_size="24"), "llama", "hidden_size: expected a whole number"),
        (lambda f: _spoil(f, num_hidden_layers=3), "llama", r"layers\.2\.self.*weight: missing"),
        (lambda f: _spoil(f, num_hidden_layers=1), "llama", r"layers\.1\..*describes no such"),
        (
            lambda f: _spoil(f, vocab_size=62),
            "llama",
            r"shape \(61, 24\), config.json says \(62",
        ),
        (lambda f: _spoil(f, bias=True), "llama", r"q_proj\.bias: missing"),
        (lambda f: (f / INDEX_NAME).write_text("{"), "llama", f"{INDEX_NAME}: damaged"),
        (lambda f: (f / "config.json").write_text("[]"), "llama", "expected an object, got list"),
        (lambda f: (f.parent / "out").touch(), "llama", "out: is not empty"),
    ],
)
def test_what_cannot_be_converted_is_refused(tmp_path: Path, damage, to: str, message: str):
    write_internlm2(tmp_path / "in")
    damage(tmp_path / "in")
    with pytest.raises(ConfigError, match=message):
        convert(tmp_path / "in", tmp_path / "out", to)
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize("tied", [False, True])
def test_a_missing_head_is_refused_unless_it_is_the_embedding(tmp_path: Path, tied: bool):
    weights = write_internlm2(tmp_path / "in")
    for file in tmp_path.glob("in/*.safetensors*"):
        file.unlink()
    del weights["output.weight"]
    save_file(weights, tmp_path / "in" / "model.safetensors")
    _spoil(tmp_path / "in", tie_word_embeddings=tied)
    if not tied:
        with pytest.raises(ConfigError, match=r"lm_head\.weight: missing"):
            convert(tmp_path / "in", tmp_path / "out", "llama")
        return
    convert(tmp_path / "in", tmp_path / "out", "llama")
    convert(tmp_path / "out", tmp_path / "back", "internlm2")
    assert bits(tmp_path / "back") == bits(tmp_path / "in")


@pytest.mark.parametrize("part", ["q_proj", "v_proj"])
def test_a_llama_without_a_part_of_its_attention_is_refused(tmp_path: Path, part: str):
    """Keys and values without queries would be left out in silence."""
    write_internlm2(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "llama", "llama")
    folder = TensorFolder(tmp_path / "llama")
    weights = {name: folder.read(name) for name in folder.tensors}
    del weights[f"model.layers.1.self_attn.{part}.weight"]
    save_file(weights, tmp_path / "llama" / "model.safetensors")
    with pytest.raises(ConfigError, match=r"layers\.1\.self_attn\.[qv]_proj\.weight: "):
        convert(tmp_path / "llama", tmp_path / "out", "internlm2")


@pytest.mark.parametrize("key", ["rope_parameters", "rope_scaling"])
def test_a_rotation_that_internlm2_has_not_is_refused(tmp_path: Path, key: str):
    write_internlm2(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "llama", "llama")
    _spoil(tmp_path / "llama", **{key: {"rope_type": "llama3", "factor": 8.0}})
    with pytest.raises(ConfigError, match="rope_type 'llama3': InternLM2 scales positions by"):
        convert(tmp_path / "llama", tmp_path / "out", "internlm2")


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path):
    write_internlm2(tmp_path / "in")
    with pytest.raises(ConfigError, match="is not empty"):
        convert(tmp_path / "in", tmp_path / "in", "llama")


def _spoil(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
