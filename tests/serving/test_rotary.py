"""Dynamic NTK scaling: every text has the angles that transformers gives it alone."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from serving.directory import ModelError
from serving.engine.rotary import root_for
from serving.load import load_engine, load_model
from tests.serving.greedy import SLACK
from tests.serving.test_families import SIZES, ask

TRAINED = 64
VOCABULARY = 320
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}


def make(kind: str, path: Path, **rope: Any) -> Path:
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {**SIZES, "vocab_size": VOCABULARY, "max_position_embeddings": TRAINED}
    config = AutoConfig.for_model(kind, **sizes, rope_parameters={**DYNAMIC, **rope})
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(path)
    return path


def ids(count: int) -> list[int]:
    return [random.randrange(VOCABULARY) for _ in range(count)]


def step_by_step(path: Path, prompt: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
    """Log-probs of the steps of ``generate``, by a model that has seen nothing else."""
    model: Any = load_model(path)
    with torch.inference_mode():
        out = model(torch.tensor([prompt]), use_cache=True)
        rows = [out.logits[0, -1]]
        for token in tokens[:-1]:
            past = out.past_key_values
            out = model(torch.tensor([[token]]), past_key_values=past, use_cache=True)
            rows.append(out.logits[0, -1])
    return torch.stack(rows).log_softmax(-1)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("llama", {"reproducible": True}),
        ("llama", {"reproducible": False, "cache_tokens": 320}),
        ("olmo2", {"reproducible": False}),
        pytest.param("llama", {"tensor_parallel": 2}, marks=pytest.mark.slow),
    ],
)
def test_equals_generate_alone(kind: str, how: dict[str, Any], tmp_path: Path) -> None:
    """Short and long texts in one batch; those with one beginning share no wrong keys."""
    path = make(kind, tmp_path)
    base = ids(200)
    prompts = [ids(random.randint(1, 60)), ids(random.randint(70, 200))]
    prompts += [base[:count] for count in (50, 60, 100, 150, 100)]
    engine: Any = load_engine(path, slots=3, max_context=256, **how)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(ask(engine, f"r{i}", p, 20) for i, p in enumerate(prompts)))

    try:
        for prompt, (tokens, logprobs) in zip(prompts, asyncio.run(all_at_once()), strict=True):
            rows = step_by_step(path, prompt, tokens)
            chosen = rows.gather(1, torch.tensor(tokens)[:, None])[:, 0]
            assert (rows.max(-1).values - chosen).max() <= SLACK
            assert logprobs == pytest.approx(chosen.tolist(), abs=SLACK)
            if how.get("tensor_parallel"):
                continue
            (scored,) = asyncio.run(engine.score(prompt, [tokens]))
            assert list(scored.logprobs) == pytest.approx(chosen.tolist(), abs=SLACK)
    finally:
        engine.close()


def test_a_text_without_context_is_scored_as_one_prompt(tmp_path: Path) -> None:
    path = make("llama", tmp_path)
    text = ids(150)
    engine: Any = load_engine(path, slots=1, max_context=256)
    try:
        (scored,) = asyncio.run(engine.score([], [text]))
    finally:
        engine.close()
    model: Any = load_model(path)
    with torch.inference_mode():
        rows = model(torch.tensor([text])).logits[0, :-1].log_softmax(-1)
    wanted = rows.gather(1, torch.tensor(text[1:])[:, None])[:, 0]
    assert list(scored.logprobs) == pytest.approx(wanted.tolist(), abs=SLACK)


def test_long_prompts_share_only_with_their_length() -> None:
    roots = [root_for(r, n, TRAINED) for r in (0, 1, 2) for n in (65, 66, 1 << 20)]
    assert len({*roots}) == 9
    assert max(roots) < 0
    assert [root_for(3, n, t) for n, t in ((64, 64), (1000, None), (1, 64))] == [3, 3, 3]


def test_scaling_stretches_the_context(tmp_path: Path) -> None:
    path = make("llama", tmp_path)
    engine = load_engine(path, slots=1)
    assert engine.stats().max_context == 4 * TRAINED
    engine.close()
    with pytest.raises(ModelError, match="max_context is 257, the model allows 256"):
        load_engine(path, slots=1, max_context=257)


def test_other_angles_than_llamas_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cohere: rope_type 'dynamic' is not supported"):
        load_engine(make("cohere", tmp_path), slots=1)
