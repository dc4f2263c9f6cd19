"""Weights that files name otherwise than the model: experts one by one, and older names."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from serving.directory import ModelError
from serving.folder import ModelFolder
from serving.load import load_engine, load_model
from serving.weights import empty_model, fill
from tests.serving.test_families import SIZES

EXPERTS = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 32},
    "qwen3_moe": {**EXPERTS, "head_dim": 16},
    "granitemoe": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_neox": {"num_key_value_heads": 4},
}


def make(kind: str, path: Path, **changes: Any) -> Path:
    """A model of a family with random weights, norms and biases included."""
    config = AutoConfig.for_model(kind, **{**SIZES, **changes})
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(path)
    return path


def by_transformers(path: Path, ids: torch.Tensor) -> torch.Tensor:
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.inference_mode():
        return model.eval()(ids).logits


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_weight_is_the_one_transformers_reads(kind: str, tmp_path: Path) -> None:
    path = make(kind, tmp_path, **FAMILIES[kind])
    ids = torch.randint(0, 320, (2, 30))
    model: Any = load_model(path)
    names = {name for file in path.glob("*.safetensors") for name in load_file(file)}
    assert names - model.state_dict().keys(), "nothing to convert: the case shows nothing"
    with torch.inference_mode():
        found = model(ids).logits
    torch.testing.assert_close(found, by_transformers(path, ids))
    load_engine(path, slots=2, max_context=64).close()  # proved over the paged cache


def test_old_names_of_a_known_family_are_read(model_dir: Path, tmp_path: Path) -> None:
    weights = load_file(model_dir / "model.safetensors")
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    (tmp_path / "config.json").write_bytes((model_dir / "config.json").read_bytes())
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    ids = torch.randint(0, 300, (1, 20))
    with torch.inference_mode():
        found, wanted = load_model(tmp_path)(ids).logits, load_model(model_dir)(ids).logits
    torch.testing.assert_close(found, wanted)


def damaged(source: Path, target: Path, change: Any) -> Path:
    (target / "config.json").write_bytes((source / "config.json").read_bytes())
    weights = load_file(source / "model.safetensors")
    change(weights)
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    return target


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("model.layers.1.self_attn.q_proj.weight"), "missing.*layers.1.*q_proj"),
        (lambda w: w.update(more=torch.ones(3)), "unknown weight 'more'"),
        (
            lambda w: w.update({"model.norm.weight": torch.ones(7)}),
            r"model.norm.weight has shape \(7,\), config.json says \(48,\)",
        ),
        (
            lambda w: w.pop("model.layers.0.block_sparse_moe.experts.2.w1.weight"),
            "weights are not whole",
        ),
    ],
)
def test_converted_weights_are_checked_too(change: Any, says: str, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    broken.mkdir()
    make("mixtral", whole, num_local_experts=4)
    with pytest.raises(ModelError, match=says):
        load_model(damaged(whole, broken, change))


def test_a_cut_model_says_what_to_do_about_older_names(tmp_path: Path) -> None:
    folder = ModelFolder(make("mixtral", tmp_path / "old", num_local_experts=4))
    with pytest.raises(ModelError, match=r"unknown weight .*only tensor_parallel 1 reads it"):
        fill(empty_model(folder), folder, lambda name, whole: whole)
