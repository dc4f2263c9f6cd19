"""What of a step is computed: behind the last attention, only rows that somebody asks for."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from contracts.engine import EngineRequest, SamplingParams
from serving.load import load_engine


@pytest.mark.parametrize("reproducible", [True, False])
def test_the_last_layer_computes_what_is_chosen_from_or_scored(
    model_dir: Path, reproducible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.load.CHUNK", 32)
    monkeypatch.setattr("serving.load.FAST_CHUNK", 32)
    monkeypatch.setattr("serving.load.TILE_CHUNK", 32)
    engine: Any = load_engine(model_dir, slots=1, threads=1, reproducible=reproducible)
    layers = engine.runner.model.base_model.layers
    first: list[int] = []
    last: list[int] = []

    def count(rows: list[int]) -> Any:
        def hook(layer: torch.nn.Module, inputs: tuple[torch.Tensor], out: torch.Tensor) -> None:
            rows.append(len(inputs[0]))

        return hook

    layers[0].mlp.down_proj.register_forward_hook(count(first))
    layers[-1].mlp.down_proj.register_forward_hook(count(last))
    prompt = tuple(random.randrange(200) for _ in range(75))

    async def ask() -> None:
        request = EngineRequest("r", prompt, SamplingParams(max_tokens=2))
        async for chunk in engine.submit(request):
            assert chunk.error is None

    try:
        asyncio.run(ask())
        assert first == [32, 32, 11, 1]
        assert last == [1, 1]
        first.clear()
        last.clear()
        # A context that nobody has asked before, and continuations of two tokens and of one
        # that are read (the last of each is only chosen).
        asyncio.run(engine.score(prompt[::-1], [[1, 2, 3], [4, 5]]))
        assert sum(first) == 75 + 3
        assert last[-1] <= 4
        assert sum(last) < 10
    finally:
        engine.close()
