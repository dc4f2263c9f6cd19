"""All layers in one call give the bits that the layers one by one give."""

import random
from typing import Any

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from serving.engine.blocks import BlockTable
from serving.engine.plan import Chunk, Sequence
from serving.engine.runner import ModelRunner, RunnerConfig
from serving.native.linear import has_tiles

pytestmark = pytest.mark.hardware

FAMILIES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}
SIZES: dict[str, Any] = dict(
    vocab_size=320,
    hidden_size=192,
    intermediate_size=352,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=256,
)


@pytest.fixture
def needs_tiles(needs_compiler: None) -> None:
    if not has_tiles():
        pytest.skip("this processor has no matrix tiles")


def decoded(model: Any, prompts: list[list[int]], width: int, native: bool) -> list[torch.Tensor]:
    """Logits of three decode steps, and what the cache holds then."""
    runner = ModelRunner(model, RunnerConfig(128, 4 * len(prompts) + 2, width=width))
    decoder: Any = runner._decoder
    assert decoder._native is not None
    if not native:
        decoder._native = None
    calls = []
    if native:
        whole = decoder._native
        decoder._native = Counted(whole, calls)
    sequences = [
        Sequence(str(i), list(p), len(p), table=BlockTable([4 * i + j + 1 for j in range(4)]))
        for i, p in enumerate(prompts)
    ]
    runner.step([], [Chunk(each, 0, len(each.tokens)) for each in sequences])
    out = []
    for token in (7, 8, 9):
        for each in sequences:
            each.tokens.append(token)
        chunks = [Chunk(each, len(each.tokens) - 1, 1) for each in sequences]
        rows = runner.step(chunks, [])
        out.append(torch.stack([rows[chunk] for chunk in chunks]))
    assert len(calls) == (3 if native else 0)
    cache: Any = runner.cache
    return [*out, cache.whole[:, 32:].clone()]


class Counted:
    """Native layers that are counted."""

    def __init__(self, whole: Any, calls: list[int]) -> None:
        self.takes = whole.takes
        self._whole, self._calls = whole, calls

    def __call__(self, *arguments: Any) -> torch.Tensor:
        self._calls.append(1)
        added: torch.Tensor = self._whole(*arguments)
        return added


@pytest.mark.parametrize("width", [0, 9])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_bits_are_those_of_layers_one_by_one(
    needs_tiles: None, family: str, width: int
) -> None:
    config, kind = FAMILIES[family]
    model = kind(config(**SIZES)).bfloat16()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    prompts = [
        [random.randrange(320) for _ in range(random.randint(1, 90))]
        for _ in range(random.randint(1, 9))
    ]
    ours = decoded(model, prompts, width, native=True)
    slow = decoded(model, prompts, width, native=False)
    for one, other in zip(ours, slow, strict=True):
        assert torch.equal(one, other)


def test_new_weights_are_seen(needs_tiles: None) -> None:
    model = LlamaForCausalLM(LlamaConfig(**SIZES)).bfloat16()
    runner = ModelRunner(model, RunnerConfig(128, 6))
    state = LlamaForCausalLM(LlamaConfig(**SIZES)).bfloat16().state_dict()
    runner.load_state({name: value.clone() for name, value in state.items()})
    sequence = Sequence("x", [1, 2, 3], 3, table=BlockTable([1, 2]))
    runner.step([], [Chunk(sequence, 0, 3)])
    sequence.tokens.append(4)
    chunk = Chunk(sequence, 3, 1)
    got = runner.step([chunk], [])[chunk]
    decoder: Any = runner._decoder
    assert decoder._native is not None
    decoder._native = None
    assert torch.equal(got, runner.step([chunk], [])[chunk])


def test_layers_with_more_in_them_go_one_by_one(needs_tiles: None) -> None:
    model = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=32)).bfloat16()
    decoder: Any = ModelRunner(model, RunnerConfig(128, 6))._decoder
    assert decoder._native is None
    whole = LlamaForCausalLM(LlamaConfig(**SIZES))
    decoder = ModelRunner(whole, RunnerConfig(128, 6))._decoder
    assert decoder._native is None
