"""Families are proved before they answer: those that run otherwise are refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from clusters.config import ConfigError
from serving.directory import ModelError
from serving.load import load_engine
from tests.serving.test_families import SIZES

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "diffllama": ({}, "differs from transformers' by"),  # attends twice in a layer
    "bert": ({"num_key_value_heads": 4}, "differs from transformers' by"),  # looks ahead
    "opt": ({"ffn_dim": 80, "word_embed_proj_dim": 48}, "the paged forward fails"),
    "helium": ({"head_dim": 20}, "transformers cannot run what config.json describes"),
}


@pytest.mark.parametrize("int8_cache", [False, True])
@pytest.mark.parametrize("kind", WRONG)
def test_what_would_run_wrongly_is_refused(kind: str, int8_cache: bool, tmp_path: Path) -> None:
    changes, says = WRONG[kind]
    # For OPT the two key heads of the sizes are one thing too many: it has as many as heads.
    config = AutoConfig.for_model(kind, **{**SIZES, **changes})
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=says) as error:
        load_engine(tmp_path, slots=1, max_context=64, int8_cache=int8_cache)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("how", [{"int8_cache": True}, {"cache_tokens": 16, "max_context": 16}])
def test_the_proof_passes_a_family_that_is_right(how: dict[str, Any], tmp_path: Path) -> None:
    config = AutoConfig.for_model("olmo2", **SIZES)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path)
    load_engine(tmp_path, **{"slots": 2, "max_context": 64, **how}).close()


def test_no_decoder_at_all_is_said_in_one_line(tmp_path: Path) -> None:
    AutoConfig.for_model("t5").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="t5: no causal language model") as error:
        load_engine(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"slots": 0},
        {"threads": 0},
        {"max_context": -5},
        {"cache_tokens": 0},
        {"dense_rows": -1},
        {"tensor_parallel": 0},
        {"copy_bits": 4},
    ],
)
def test_settings_that_mean_nothing_are_refused(model_dir: Path, change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(ConfigError, match=f"{name} is .*; it must be"):
        load_engine(model_dir, **change)


def test_a_cache_for_which_there_is_no_memory_is_said(model_dir: Path) -> None:
    with pytest.raises(ModelError, match=r"no memory for a cache of \d+ tokens.*cache_tokens"):
        load_engine(model_dir, slots=1, max_context=64, cache_tokens=10**13)


@pytest.mark.parametrize(
    "change", [{"hidden_act": "nope"}, {"rope_parameters": {"rope_type": "nope"}}]
)
def test_a_config_that_fits_no_model_is_said(
    model_dir: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    for file in model_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ModelError, match="nope"):
        load_engine(tmp_path)
