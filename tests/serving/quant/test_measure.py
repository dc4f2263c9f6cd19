import asyncio
import math
from pathlib import Path

import pytest
import torch

from serving.load import load_engine, load_model
from serving.quant.copies import exact_sums
from serving.quant.measure.memory import cache_capacity, weight_bytes
from serving.quant.measure.quality import agreement, continuations, perplexity
from serving.quant.measure.speed import KernelTimes, choose_dense_rows, first_layer, time_kernels


def test_perplexity_is_that_of_the_plain_forward(model_dir: Path) -> None:
    windows = torch.randint(0, 256, (3, 50)).tolist()
    engine = load_engine(model_dir, slots=2)
    try:
        found = asyncio.run(perplexity(engine, windows))
    finally:
        engine.close()
    model = load_model(model_dir)
    ids = torch.tensor(windows)
    with torch.inference_mode():
        logprobs = model(ids).logits[:, :-1].float().log_softmax(dim=-1)
    chosen = logprobs.gather(2, ids[:, 1:, None])
    assert found.tokens == 3 * 49
    assert found.value == pytest.approx(math.exp(-chosen.mean().item()), rel=1e-3)


def test_agreement_counts_what_comes_before_the_first_other() -> None:
    found = agreement([[1, 2, 3, 4], [1, 9, 3, 4], [5, 2, 3, 4]], [[1, 2, 3, 4]] * 3)
    assert found.first == pytest.approx(2 / 3)
    assert found.prefix == pytest.approx((1 + 0.25 + 0) / 3)
    assert (found.prompts, found.new_tokens) == (3, 4)


def test_a_model_agrees_with_itself(model_dir: Path) -> None:
    windows = torch.randint(0, 256, (5, 40)).tolist()
    engine = load_engine(model_dir, slots=8)
    try:
        ours = asyncio.run(continuations(engine, windows))
        theirs = asyncio.run(continuations(engine, windows))
    finally:
        engine.close()
    assert agreement(ours, theirs).prefix == 1


@pytest.mark.parametrize(
    ("packed", "chosen"),
    [
        ([1, 1, 1], None),  # never
        ([1, 9, 9], 8),  # from some count on
        ([9, 9, 9], 1),  # always
        ([1, 9, 1], None),  # not at the largest
        ([1, 2, 9], 64),  # two is not worth the memory
    ],
)
def test_copies_are_chosen_where_they_pay(packed: list[float], chosen: int | None) -> None:
    times = [KernelTimes(r, p, 1.9) for r, p in zip((1, 8, 64), packed, strict=True)]
    assert choose_dense_rows(times) == chosen


def test_kernels_are_timed_for_packed_layers_alone(model_dir: Path, int4_dir: Path) -> None:
    assert len(first_layer(load_model(int4_dir))) == 7
    times = time_kernels(first_layer(load_model(int4_dir)))
    assert [t.rows for t in times] == sorted(t.rows for t in times)
    assert all(t.packed > 0 < t.dense for t in times)
    assert time_kernels(first_layer(load_model(model_dir))) == []


def test_bytes(model_dir: Path, int4_dir: Path) -> None:
    model = load_model(model_dir)
    wanted = sum(p.nbytes for p in model.parameters()) + sum(b.nbytes for b in model.buffers())
    assert weight_bytes(model) == wanted
    packed = load_model(int4_dir)
    layer = packed.model.layers[0].mlp.up_proj
    kept = weight_bytes(packed)
    numbers = layer.in_features * layer.out_features
    layer.keep_dense(8, 16)
    assert weight_bytes(packed) == kept + 2 * numbers
    layer.keep_dense(8, 8)
    eight = numbers + 12 * layer.out_features
    assert weight_bytes(packed) == kept + (eight if exact_sums() else 2 * numbers)
    config = model.config
    capacity = cache_capacity(config)
    values = config.num_hidden_layers * 2 * config.num_key_value_heads
    assert capacity.bf16 == (1 << 30) // (values * 2 * config.head_dim)
    assert capacity.int8 == (1 << 30) // (values * (config.head_dim + 8))
