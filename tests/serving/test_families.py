"""Greedy tokens and log-probs equal transformers' own, in fp32, for each family."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from contracts.engine import EngineRequest, SamplingParams
from serving.directory import ModelError
from serving.load import load_engine, load_model
from tests.serving.greedy import assert_greedy

SIZES: dict[str, Any] = dict(
    vocab_size=320,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    initializer_range=0.2,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "rope_theta": 10000.0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
    "rope_theta": 500000.0,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 6,
    "long_factor": [2.0] * 6,
    "original_max_position_embeddings": 64,
}
BASE = {"rope_type": "default", "rope_theta": 5000000.0}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-linear": ("llama", {"rope_parameters": LINEAR}),
    "llama-yarn": ("llama", {"rope_parameters": YARN}),
    "llama-3-rope": ("llama", {"rope_parameters": LLAMA3}),
    "llama-base": ("llama", {"rope_parameters": BASE}),
    "llama-bias": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "gemma": ("gemma", {"head_dim": 16}),
    "granite": ("granite", {"logits_scaling": 3.0, "embedding_multiplier": 2.0}),
    "olmo2": ("olmo2", {}),
    "glm": ("glm", {"head_dim": 16}),
    "starcoder2": ("starcoder2", {"sliding_window": None}),
    "cohere": ("cohere", {}),
    "smollm3": ("smollm3", {}),
    "gpt2": ("gpt2", {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 256}),
}


def make(family: str, path: Path) -> Path:
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, changes = FAMILIES[family]
    sizes = {} if kind == "gpt2" else SIZES
    config = AutoConfig.for_model(kind, **{**sizes, "vocab_size": 320, **changes})
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(path)
    return path


async def ask(engine: Any, name: str, prompt: list[int], count: int) -> tuple[list, list]:
    request = EngineRequest(name, tuple(prompt), SamplingParams(max_tokens=count))
    tokens, logprobs = [], []
    async for chunk in engine.submit(request):
        assert chunk.error is None, chunk.error
        tokens += chunk.token_ids
        logprobs += chunk.logprobs
    return tokens, logprobs


def compare(path: Path, prompts: int, **how: Any) -> None:
    model: Any = load_model(path)
    rng = random.Random()
    wanted = [
        [rng.randrange(SIZES["vocab_size"]) for _ in range(rng.randint(1, 90))]
        for _ in range(prompts)
    ]
    engine = load_engine(path, slots=4, max_context=128, **how)

    async def all_at_once() -> list:
        return await asyncio.gather(
            *(ask(engine, f"r{i}", prompt, 12) for i, prompt in enumerate(wanted))
        )

    try:
        for prompt, (tokens, logprobs) in zip(wanted, asyncio.run(all_at_once()), strict=True):
            assert len(tokens) == 12
            assert_greedy(model, prompt, tokens, logprobs)
    finally:
        engine.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_transformers(family: str, tmp_path: Path) -> None:
    compare(make(family, tmp_path), 6, reproducible=random.random() < 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("reproducible", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_transformers_over_many_prompts(
    family: str, reproducible: bool, tmp_path: Path
) -> None:
    compare(make(family, tmp_path), 200, reproducible=reproducible, cache_tokens=200)


REFUSED = {
    "mistral": ({"sliding_window": 64}, "sliding-window"),
    "gemma2": ({"head_dim": 16}, "sliding-window"),
    "deepseek_v3": ({"q_lora_rank": 8, "kv_lora_rank": 8}, "latent attention"),
    "mamba": ({"num_hidden_layers": 1}, "not supported"),
    "qwen3_next": ({"layer_types": ["linear_attention", "full_attention"]}, "linear_attention"),
    "llama": (
        {"rope_parameters": LONGROPE},
        "rope_type 'longrope'.*beyond a length",
    ),
    "bloom": ({}, "not supported|cannot be replaced"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_says_what_it_does_not_run(kind: str, tmp_path: Path) -> None:
    from transformers import AutoConfig

    changes, says = REFUSED[kind]
    AutoConfig.for_model(kind, **{**SIZES, **changes}).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=says):
        load_model(tmp_path)


def test_no_context_is_longer_than_the_model(tmp_path: Path) -> None:
    path = make("gpt2", tmp_path)
    engine = load_engine(path, slots=1)
    assert engine.stats().max_context == 256
    engine.close()
    with pytest.raises(ModelError, match="max_context is 257, the model allows 256"):
        load_engine(path, slots=1, max_context=257)
