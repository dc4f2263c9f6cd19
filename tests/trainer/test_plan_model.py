import json

import pytest

from clusters.config import ConfigError
from trainer.models.presets import ALIASES, SHAPES
from trainer.plan.model import find_shape, read_config, shape_of_size


def counted(config: dict) -> int:
    """Parameters of transformers' own model, built without memory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    return sum(weight.numel() for weight in model.parameters())


def config_of(name: str) -> dict:
    """The preset as the keys of a Hugging Face config."""
    shape = find_shape(name)
    kind = name.split("-")[0]
    kind = {"qwen2.5": "qwen2", "qwen3": "qwen3"}.get(kind, "llama")
    config = {
        "model_type": kind,
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "intermediate_size": shape.mlp,
        "head_dim": shape.q_width // shape.heads,
        "tie_word_embeddings": shape.tied,
    }
    if shape.output_bias:
        config["attention_bias"] = True
    return config


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_parameters_are_those_of_transformers_own_model(name, tmp_path):
    config = config_of(name)
    assert find_shape(name).parameters == counted(config)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert read_config(path).parameters == find_shape(name).parameters


PUBLISHED = {
    "internlm-7b": 7.32, "internlm-20b": 20.09,
    "internlm2-1.8b": 1.889, "internlm2-7b": 7.738, "internlm2-20b": 19.861,
    "llama-7b": 6.738, "llama-13b": 13.016, "llama-65b": 65.286, "llama2-70b": 68.977,
    "llama3-1b": 1.236, "llama3-8b": 8.030, "llama3-70b": 70.554,
    "qwen2.5-0.5b": 0.494, "qwen2.5-1.5b": 1.544, "qwen2.5-7b": 7.616, "qwen2.5-14b": 14.770,
    "qwen2.5-32b": 32.764, "qwen2.5-72b": 72.706, "qwen3-0.6b": 0.596, "qwen3-8b": 8.191,
}  # fmt: skip
"""Billions, as the model pages count them."""


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_presets_have_the_published_sizes(name):
    assert find_shape(name).parameters / 1e9 == pytest.approx(PUBLISHED[name], rel=2e-3)


def test_aliases_name_presets():
    assert set(ALIASES.values()) <= set(SHAPES)
    assert find_shape("7B").name == "internlm2-7b"


def test_flops_are_six_per_multiplying_parameter_and_attention():
    shape = find_shape("llama-7b")
    multiplying = shape.parameters - shape.vocab * shape.hidden
    assert shape.flops_per_token(1) == pytest.approx(6 * multiplying, rel=1e-3)
    # A sequence twice as long: attention's part doubles. Forward: 2 products x 2 FLOPs x
    # half of the positions x width, three times with backward.
    extra = shape.flops_per_token(8192) - shape.flops_per_token(4096)
    assert extra == 3 * 2 * 2 * (4096 / 2) * shape.hidden * shape.layers


def test_sizes_of_published_tables_become_shapes():
    for parameters, layers, hidden in ((125e6, 12, 768), (1.3e9, 24, 2048), (7.3e9, 32, 4096)):
        shape = shape_of_size("some-model", parameters, layers, hidden)
        assert shape.parameters == pytest.approx(parameters, rel=0.02)


def test_unknown_model_names_the_nearest():
    with pytest.raises(ConfigError, match="internlm2-7b"):
        find_shape("internlm2-7")


@pytest.mark.parametrize(
    ("text", "said"),
    [("[]", "object"), ("{", "not JSON"), ('{"num_local_experts": 8}', "experts"),
     ('{"num_attention_heads": "8"}', "num_attention_heads"),
     ('{"num_attention_heads": 8, "vocab_size": -1}', "vocab_size"),
     ('{"model_type": "gpt2", "n_head": 12}', "num_attention_heads: not there .model_type 'gpt2'"),
     ('{"num_attention_heads": 8, "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, '
      '"intermediate_size": 8, "head_dim": "a"}', "head_dim: expected a whole number")],
)  # fmt: skip
def test_bad_config_names_file_and_key(tmp_path, text, said):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        find_shape(str(tmp_path))
    assert str(path) in str(caught.value)


FAMILIES = [
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "granite",
    "smollm3", "helium", "ernie4_5", "olmo2", "glm", "glm4", "seed_oss", "exaone4", "cohere",
    "cohere2",
]  # fmt: skip


@pytest.mark.parametrize("kind", FAMILIES)
def test_families_have_the_parameters_of_transformers_own_model(kind, tmp_path):
    config = {
        "model_type": kind, "vocab_size": 1024, "hidden_size": 192, "num_hidden_layers": 3,
        "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 320,
        "head_dim": 32, "pad_token_id": 0,
    }  # fmt: skip
    if kind in ("glm", "glm4", "seed_oss"):
        config["attention_bias"] = True
        config["attention_out_bias"] = False
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert read_config(path).parameters == counted(config)


@pytest.mark.parametrize("kind", FAMILIES)
def test_biases_of_the_mlp_are_counted_where_there_are_any(kind, tmp_path):
    config = {
        "model_type": kind, "vocab_size": 1024, "hidden_size": 192, "num_hidden_layers": 3,
        "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 320,
        "head_dim": 32, "pad_token_id": 0, "mlp_bias": True, "use_bias": kind == "ernie4_5",
        "attention_bias": kind in ("glm", "glm4", "seed_oss"), "attention_out_bias": False,
    }  # fmt: skip
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert read_config(path).parameters == counted(config)


@pytest.mark.parametrize("kind", ["gpt_neox", "phi", "starcoder2", "bert", "nemotron", "lfm2"])
def test_other_layers_behind_the_same_keys_are_refused(kind, tmp_path):
    """Counted as Llama's they would be a quarter and more too large."""
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps({
            "model_type": kind, "vocab_size": 1024, "hidden_size": 192, "num_hidden_layers": 3,
            "num_attention_heads": 6, "intermediate_size": 320,
        })
    )  # fmt: skip
    with pytest.raises(ConfigError, match=f"model_type: {kind!r} is not planned") as caught:
        read_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"num_key_value_heads": 4}, "num_key_value_heads: 4 does not divide"),
     ({"hidden_size": 190}, "num_attention_heads: 6 does not divide hidden_size 190")],
)  # fmt: skip
def test_heads_that_do_not_divide_are_refused(change, said, tmp_path):
    path = tmp_path / "config.json"
    config = {
        "model_type": "llama", "vocab_size": 1024, "hidden_size": 192, "num_hidden_layers": 3,
        "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 320, **change,
    }  # fmt: skip
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=said):
        read_config(path)
