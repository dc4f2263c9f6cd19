"""Adapters over a model that is cut over two processes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from serving.load import load_engine, load_model
from serving.lora.files import AdapterError
from tests.serving.greedy import assert_greedy
from tests.serving.lora.conftest import make_adapter, merged
from tests.serving.lora.test_lora import load_all, requests_for
from tests.serving.test_engine import collect


def test_each_rank_adds_its_part(
    model_dir: Path, adapter_dirs: dict[str, Path], tmp_path: Path
) -> None:
    from tests.serving.conftest import make_model

    wanted = requests_for([None, *adapter_dirs], 2)
    wide = make_model(tmp_path / "wide", hidden_size=96, num_attention_heads=6)
    foreign = make_adapter(wide, tmp_path / "foreign")
    engine: Any = load_engine(model_dir, slots=4, threads=1, tensor_parallel=2)

    async def run() -> list[Any]:
        await load_all(engine, adapter_dirs)
        with pytest.raises(AdapterError, match="this model's"):
            await engine.load_adapter("foreign", foreign)
        found = await asyncio.gather(*(collect(engine, r) for r in wanted))
        await engine.drop_adapter("rs")
        return found

    try:
        found = asyncio.run(asyncio.wait_for(run(), 400))
        assert engine.alive
    finally:
        engine.close()
    models = {name: merged(model_dir, path) for name, path in adapter_dirs.items()}
    models[None] = load_model(model_dir)
    for request, (tokens, logprobs, _) in zip(wanted, found, strict=True):
        assert len(tokens) == 10
        assert_greedy(models[request.adapter], request.prompt_ids, tokens, logprobs)
