"""Presets, shapes by numbers and the models that are made of them."""

import math

import pytest
import torch
from pydantic import ValidationError

from tests.trainer.ranks import NoTokenizer
from trainer.config import PretrainConfig
from trainer.models.build import hf_config, initialise
from trainer.models.presets import ALIASES, SHAPES
from trainer.models.shape import FAMILIES, ModelShape
from trainer.plan.model import find_shape


def on_no_memory(shape: ModelShape) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(hf_config(shape, 1000, NoTokenizer()))


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_preset_is_trained_with_the_parameters_that_are_planned(name: str):
    shape = ModelShape.model_validate({"preset": name})
    model = on_no_memory(shape)
    assert sum(p.numel() for p in model.parameters()) == find_shape(name).parameters


def test_an_alias_names_the_same_shape():
    for alias, name in ALIASES.items():
        one, other = (ModelShape.model_validate({"preset": n}) for n in (alias.upper(), name))
        assert one.model_dump(exclude={"preset"}) == other.model_dump(exclude={"preset"})


def test_fields_beside_a_preset_change_it():
    shape = ModelShape.model_validate(
        {"preset": "internlm2-1.8b", "num_layers": 2, "vocab_size": None}
    )
    assert (shape.num_layers, shape.vocab_size, shape.hidden_size) == (2, None, 2048)
    assert (shape.rope_theta, shape.max_positions) == (1e6, 32768)
    again = ModelShape.model_validate(shape.model_dump())
    assert again == shape, "what a checkpoint says of its config is read back alike"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"preset": "internlm2-7"}, "did you mean 'internlm2-7b'"),
        ({"preset": "7b", "start_from": "x"}, "preset and start_from: each names a model"),
        ({"config": "x", "num_layers": 9}, "num_layers: config says it already"),
        ({"family": "mistral", "attention_bias": True}, "mistral has none to set"),
        ({"family": "gpt5"}, "'llama', 'qwen2', 'qwen3' or 'mistral'"),
        ({"preset": "llama3-8b", "num_heads": 7}, "num_heads: 7 heads do not cut"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(config: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        ModelShape.model_validate(config)


def test_rows_longer_than_a_preset_are_refused():
    with pytest.raises(ValidationError, match=r"more than model\.max_positions 8192"):
        PretrainConfig.model_validate({"model": {"preset": "llama3-8b"}, "sequence_length": 8193})


@pytest.mark.parametrize("family", FAMILIES)
def test_what_writes_to_the_residual_stream_starts_smaller_the_deeper_the_model(family: str):
    sizes = {"hidden_size": 128, "num_heads": 4, "num_kv_heads": 2, "mlp_size": 192}
    shape = ModelShape.model_validate({"family": family, "num_layers": 8, **sizes})
    model = initialise(hf_config(shape, 200, NoTokenizer()), 3, torch.float32)
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue
        small = "o_proj" in name or "down_proj" in name
        wanted = 0.02 / math.sqrt(16) if small else 0.02
        assert float(weight.detach().std()) == pytest.approx(wanted, rel=0.05), name


def test_the_residual_stream_of_a_deep_model_stays_of_one_size():
    """Its growth over the layers, with the scaled matrices, does not follow the depth."""
    found = []
    for layers in (2, 32):
        shape = ModelShape.model_validate({"num_layers": layers, "hidden_size": 160})
        model = initialise(hf_config(shape, 300, NoTokenizer()), 5, torch.float32)
        ids = torch.randint(0, 300, (1, 64))
        states = model.model(ids, output_hidden_states=True).hidden_states
        found.append(float((states[-2] - states[0]).std()))
    assert found[1] < 2 * found[0]
