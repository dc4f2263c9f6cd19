"""Rows with different adapters in one batch against peft's merged models."""

import asyncio
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from contracts.engine import (
    AdapterEngine,
    AdapterInUse,
    EngineError,
    EngineRequest,
    SamplingParams,
    UnknownAdapter,
)
from serving.load import load_engine, load_model
from serving.lora.files import AdapterError, read_adapter
from serving.quant.rounding import rounded
from tests.serving.greedy import SLACK, assert_greedy
from tests.serving.lora.conftest import make_adapter, merged
from tests.serving.test_engine import collect


@pytest.fixture(params=[True, False], ids=["reproducible", "fast"])
def engine(request: pytest.FixtureRequest, model_dir: Path) -> Iterator[Any]:
    engine = load_engine(model_dir, slots=4, threads=1, reproducible=request.param)
    yield engine
    engine.close()


async def load_all(engine: Any, adapters: dict[str, Path]) -> None:
    for name, path in adapters.items():
        await engine.load_adapter(name, path)


def requests_for(names: list[str | None], prompts: int) -> list[EngineRequest]:
    """Each prompt with each adapter, shuffled: who runs beside whom is random."""
    rng = random.Random()
    wanted = []
    for index in range(prompts):
        prompt = tuple(rng.randrange(300) for _ in range(rng.randint(2, 80)))
        for name in names:
            sampling = SamplingParams(max_tokens=10)
            wanted.append(EngineRequest(f"{name}-{index}", prompt, sampling, adapter=name))
    rng.shuffle(wanted)
    return wanted


def test_each_row_has_its_own_adapter(
    engine: Any, model_dir: Path, adapter_dirs: dict[str, Path]
) -> None:
    wanted = requests_for([None, *adapter_dirs], 3)

    async def run() -> list[Any]:
        await load_all(engine, adapter_dirs)
        return await asyncio.gather(*(collect(engine, r) for r in wanted))

    assert isinstance(engine, AdapterEngine)
    found = asyncio.run(run())
    assert set(engine.adapters()) == set(adapter_dirs)
    models = {name: merged(model_dir, path) for name, path in adapter_dirs.items()}
    models[None] = load_model(model_dir)
    different = set()
    for request, (tokens, logprobs, _) in zip(wanted, found, strict=True):
        model = models[request.adapter]
        prompt = list(request.prompt_ids)
        assert len(tokens) == 10
        assert_greedy(model, prompt, tokens, logprobs)
        different.add((request.prompt_ids, tuple(tokens)))
    assert len(different) > len(wanted) // 2  # the adapters do change what is said


def test_company_changes_no_bit(model_dir: Path, adapter_dirs: dict[str, Path]) -> None:
    engine: Any = load_engine(model_dir, slots=4, threads=1, cache_tokens=320)
    wanted = requests_for([None, *adapter_dirs], 2)

    async def run() -> tuple[list[Any], list[Any]]:
        await load_all(engine, adapter_dirs)
        together = await asyncio.gather(*(collect(engine, r) for r in wanted))
        return together, [await collect(engine, r) for r in wanted]

    try:
        together, alone = asyncio.run(run())
    finally:
        engine.close()
    assert together == alone


def test_scores_and_shared_beginnings_keep_adapters_apart(
    engine: Any, model_dir: Path, adapter_dirs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = [random.randrange(300) for _ in range(200)]
    names = [None, "all", "rs"]
    rows = {}

    async def run() -> None:
        await load_all(engine, adapter_dirs)
        for name in [*names, *names]:
            rows.setdefault(name, []).append(await engine.score(context, [[5, 6], [7]], name))

    asyncio.run(run())
    for name in names:
        model = load_model(model_dir) if name is None else merged(model_dir, adapter_dirs[name])
        plain = torch.log_softmax(model(torch.tensor([[*context, 5, 6]])).logits[0].float(), -1)
        expected = [plain[199, 5].item(), plain[200, 6].item()]
        for pair, one in rows[name]:  # the second time over what the cache holds of the first
            assert pair.logprobs == pytest.approx(expected, abs=SLACK)
            assert one.logprobs == pytest.approx([plain[199, 7].item()], abs=SLACK)


def test_the_prefix_cache_is_found_by_the_same_adapter_only(
    model_dir: Path, adapter_dirs: dict[str, Path]
) -> None:
    engine: Any = load_engine(model_dir, slots=2, threads=1, reproducible=False)
    prompt = tuple(random.randrange(300) for _ in range(100))

    async def hits(name: str | None) -> int:
        before = engine.stats().tokens_cached
        sampling = SamplingParams(max_tokens=2)
        await collect(engine, EngineRequest("x", prompt, sampling, adapter=name))
        return engine.stats().tokens_cached - before

    async def run() -> list[int]:
        await load_all(engine, {"a": adapter_dirs["all"], "b": adapter_dirs["rs"]})
        found = [await hits(name) for name in (None, "a", "b", None, "a", "b")]
        await engine.drop_adapter("a")
        await engine.load_adapter("a", adapter_dirs["some"])
        return [*found, await hits("a"), await hits(None)]

    try:
        assert asyncio.run(run()) == [0, 0, 0, 96, 96, 96, 0, 96]
    finally:
        engine.close()


def test_loading_and_dropping_while_others_run(engine: Any, adapter_dirs: dict[str, Path]) -> None:
    long = EngineRequest("long", (1, 2, 3), SamplingParams(max_tokens=200), adapter="a")
    short = EngineRequest("short", (1, 2), SamplingParams(max_tokens=2), adapter="a")

    async def run() -> None:
        with pytest.raises(UnknownAdapter, match="no adapter 'a' is loaded; there are: none"):
            await collect(engine, short)
        await engine.load_adapter("a", adapter_dirs["all"])
        with pytest.raises(EngineError, match="loaded already"):
            await engine.load_adapter("a", adapter_dirs["rs"])
        stream = engine.submit(long)
        await anext(stream)
        with pytest.raises(AdapterInUse, match="used by 1 requests"):
            await engine.drop_adapter("a")
        await engine.load_adapter("b", adapter_dirs["rs"])
        await stream.aclose()
        await engine.abort("long")
        await engine.drop_adapter("a")
        assert list(engine.adapters()) == ["b"]
        with pytest.raises(UnknownAdapter, match="there are: 'b'"):
            await collect(engine, short)
        with pytest.raises(UnknownAdapter):
            await engine.score([1], [[2]], "a")
        with pytest.raises(UnknownAdapter):
            await engine.drop_adapter("a")

    asyncio.run(run())
    assert engine.stats().blocks_used == 0


def test_new_weights_keep_the_adapters(model_dir: Path, adapter_dirs: dict[str, Path]) -> None:
    engine: Any = load_engine(model_dir, slots=2, threads=1)
    base: Any = load_model(model_dir)
    state = {k: v + torch.randn_like(v) * 0.05 for k, v in base.state_dict().items()}
    prompt = [random.randrange(300) for _ in range(30)]
    request = EngineRequest("r", tuple(prompt), SamplingParams(max_tokens=8), adapter="a")

    async def run() -> list[int]:
        await engine.load_adapter("a", adapter_dirs["all"])
        await collect(engine, request)
        await engine.update_weights(state, 1)
        return (await collect(engine, request))[0]

    try:
        tokens = asyncio.run(run())
    finally:
        engine.close()
    model = merged(model_dir, adapter_dirs["all"])
    own = load_model(model_dir).state_dict()
    shifted = {k: v + state[k] - own[k] for k, v in model.state_dict().items()}
    model.load_state_dict(shifted)
    assert_greedy(model, prompt, tokens)


def rounded_model(model_dir: Path, adapter: Path | None, times: float = 1.0) -> Any:
    """The packed model's weights in fp32, ``times`` the adapter added to them."""
    model: Any = load_model(model_dir)
    pairs = {} if adapter is None else read_adapter(adapter).pairs
    for name, layer in model.model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data = rounded(layer.weight.data, 32)
            if (pair := pairs.get(f"model.{name}")) is not None:
                layer.weight.data += times * (pair.b.float() @ pair.a.float())
    return model


@torch.no_grad()
def next_logprobs(model: Any, prompts: list[list[int]]) -> torch.Tensor:
    """Of the first 300 tokens after each prompt, shape (prompts, 300)."""
    logits = model(torch.tensor(prompts)).logits[:, -1]
    return torch.log_softmax(logits.float(), -1)[:, :300]


@pytest.mark.parametrize("length", [8, 100], ids=["kernel", "dequantised"])
def test_adapters_over_packed_weights(
    int4_dir: Path, model_dir: Path, tmp_path: Path, length: int
) -> None:
    """Few rows go through the 4-bit kernel, many through dequantised weights: both add it.

    bf16 moves single log-probs by tenths, so 1,200 of them are judged together: the engine's lie
    much nearer to what this adapter gives than to what none, half, twice it or another one does.
    """
    path, other = make_adapter(model_dir, tmp_path / "a"), make_adapter(model_dir, tmp_path / "b")
    engine: Any = load_engine(int4_dir, slots=2, threads=1)
    prompts = [[random.randrange(300) for _ in range(length)] for _ in range(4)]

    async def scores(adapter: str | None) -> torch.Tensor:
        rows = [await engine.score(p, [[t] for t in range(300)], adapter) for p in prompts]
        return torch.tensor([[choice.logprobs[0] for choice in row] for row in rows])

    async def run() -> tuple[torch.Tensor, ...]:
        plain = await scores(None)
        await engine.load_adapter("a", path)
        return plain, await scores("a"), await scores(None)

    try:
        plain, adapted, again = asyncio.run(run())
    finally:
        engine.close()
    assert torch.equal(again, plain)
    right = next_logprobs(rounded_model(model_dir, path), prompts)
    error = (adapted - right).norm()
    for adapter, times in ((None, 0.0), (path, 0.5), (path, 2.0), (other, 1.0)):
        wrong = next_logprobs(rounded_model(model_dir, adapter, times), prompts)
        assert error < 0.4 * (adapted - wrong).norm(), (adapter, times)  # of 200 the worst: 0.11


def test_families_through_transformers_own_modules(tmp_path: Path) -> None:
    from tests.serving.test_families import make

    base = make("granite", tmp_path / "base")
    path = make_adapter(base, tmp_path / "a", target_modules=["q_proj", "o_proj", "up_proj"])
    engine: Any = load_engine(base, slots=2, threads=1, max_context=128)
    prompt = [random.randrange(300) for _ in range(30)]
    request = EngineRequest("r", tuple(prompt), SamplingParams(max_tokens=8), adapter="a")

    async def run() -> list[int]:
        await engine.load_adapter("a", path)
        return (await collect(engine, request))[0]

    try:
        tokens = asyncio.run(run())
    finally:
        engine.close()
    assert_greedy(merged(base, path), prompt, tokens)


def rewritten(source: Path, target: Path, **changes: Any) -> Path:
    shutil.copytree(source, target)
    said = json.loads((target / "adapter_config.json").read_text())
    (target / "adapter_config.json").write_text(json.dumps({**said, **changes}))
    return target


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"r": 5}, r"says rank 5"),
        ({"r": 0}, r"r: 0; a rank is at least 1"),
        ({"r": "many"}, r"adapter_config.json: r: "),
        ({"use_dora": True}, r"use_dora: True is not supported"),
        ({"bias": "all"}, r"bias: 'all' is not supported"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save"),
        ({"peft_type": "IA3"}, r"peft_type: 'IA3'; only LORA"),
        ({"init_lora_weights": "pissa_niter_4"}, r"'pissa_niter_4' changes the base's own weights"),
        ({"init_lora_weights": "olora"}, r"'olora' changes the base's own weights"),
        (
            {"alora_invocation_tokens": [5, 6]},
            r"alora_invocation_tokens: \[5, 6\] is not",
        ),
        ({"rank_pattern": {"q_proj": 0}}, r"rank_pattern: 0; a rank is at least 1"),
        ({"alpha_pattern": {"(": 4}}, r"no regular expression"),
        ({"lora_alpha": float("nan")}, r"NaN or infinity in its matrices or its alpha"),
    ],
)
def test_says_what_is_wrong_with_the_config(
    adapter_dirs: dict[str, Path], tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(AdapterError, match=says):
        read_adapter(rewritten(adapter_dirs["all"], tmp_path / "a", **changes))


def test_says_what_is_wrong_with_the_files(
    engine: Any, adapter_dirs: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(AdapterError, match=r"adapter_config\.json: missing"):
        read_adapter(tmp_path)
    path = rewritten(adapter_dirs["all"], tmp_path / "a")
    weights = path / "adapter_model.safetensors"
    tensors = load_file(weights)
    lone = next(name for name in tensors if "lora_A" in name)
    save_file({k: v for k, v in tensors.items() if k != lone}, weights)
    with pytest.raises(AdapterError, match="only lora_B is there"):
        read_adapter(path)
    save_file({**tensors, "base_model.model.x.lora_magnitude_vector": torch.ones(2)}, weights)
    with pytest.raises(AdapterError, match="no LoRA matrix of a linear layer"):
        read_adapter(path)
    save_file({**tensors, lone: torch.full_like(tensors[lone], torch.inf)}, weights)
    with pytest.raises(AdapterError, match="NaN or infinity"):
        read_adapter(path)
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(AdapterError, match="damaged"):
        read_adapter(path)
    for other, says in (
        ({lone: torch.ones(4, 65)}, "maps 65 inputs to .* outputs, this model's"),
        (
            {
                "base_model.model.lm_head.lora_A.weight": torch.ones(4, 64),
                "base_model.model.lm_head.lora_B.weight": torch.ones(9, 4),
            },
            "lm_head: the output projection takes none",
        ),
    ):
        save_file({**tensors, **other}, weights)
        with pytest.raises(AdapterError, match=says):
            asyncio.run(engine.load_adapter("bad", path))
    weights.unlink()
    with pytest.raises(AdapterError, match="missing"):
        read_adapter(path)
    weights.mkdir()
    with pytest.raises(AdapterError, match="damaged"):
        read_adapter(path)
    assert engine.adapters() == {}
