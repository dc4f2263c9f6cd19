"""The ranks of a cut model against the whole one; here ranks are threads of one process."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from clusters.execute import run_stage
from serving.directory import ModelError
from serving.engine.blocks import BlockTable
from serving.engine.plan import Chunk, Sequence
from serving.engine.runner import RunnerConfig
from serving.folder import ModelFolder
from serving.load import open_runner
from serving.parallel.group import Group
from serving.parallel.runner import RankRunner
from serving.parallel.shard import check_cut
from serving.quant.config import QuantizeConfig
from serving.stages import STAGES
from tests.serving.conftest import as_checkpoint, make_model
from tests.serving.test_families import FAMILIES, SIZES, make

CPU = torch.device("cpu")


def on_ranks(folder: Path, size: int, work: Callable[[Group], Any]) -> list[Any]:
    """What ``work`` gives on each of some ranks."""

    def rank(index: int) -> Any:
        return work(Group(folder / "meeting", index, size, CPU))

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(rank, range(size)))


@pytest.mark.parametrize("size", [2, 3])
def test_sums_are_the_same_bits_everywhere_and_joins_are_in_order(
    size: int, tmp_path: Path
) -> None:
    parts = [torch.randn(5, 7) for _ in range(size)]
    expected = parts[0]
    for part in parts[1:]:
        expected = expected + part

    def work(group: Group) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        own = parts[group.rank].clone()
        return group.join(own), group.sum(own), group.send(parts[group.rank].clone())

    for joined, total, sent in on_ranks(tmp_path, size, work):
        assert torch.equal(joined, torch.cat(parts, dim=-1))
        assert torch.equal(total, expected)
        assert torch.equal(sent, parts[0])


def rank_of(path: Path, group: Group, config: RunnerConfig) -> Any:
    """One rank's part of a model."""

    def runner_of(model: Any, config: RunnerConfig) -> RankRunner:
        return RankRunner(model, config, group)

    return open_runner(ModelFolder(path), config, None, group=group, make=runner_of)


def logits_of(runner: Any, prompt: list[int]) -> torch.Tensor:
    """Logits after a prompt in two chunks and one decode step, (2, vocabulary)."""
    table = BlockTable([3, 1, 2, 4])
    sequence = Sequence("x", list(prompt), len(prompt), table=table)
    half = len(prompt) // 2
    runner.step([], [Chunk(sequence, 0, half)])
    first = runner.step([], [Chunk(sequence, half, len(prompt) - half)])
    sequence.tokens.append(7)
    second = runner.step([Chunk(sequence, len(prompt), 1)], [])
    return torch.stack([*first.values(), *second.values()])


def compare(path: Path, tmp_path: Path, size: int, int8_cache: bool = False) -> None:
    prompt = [random.randrange(SIZES["vocab_size"]) for _ in range(random.randint(4, 90))]
    config = RunnerConfig(128, 6, int8_cache=int8_cache)
    whole = open_runner(ModelFolder(path), config, None)
    expected = logits_of(whole, prompt)

    def work(group: Group) -> tuple[torch.Tensor, int]:
        rank = rank_of(path, group, RunnerConfig(128, 6, int8_cache=int8_cache, ranks=size))
        return logits_of(rank, prompt), rank.cache.nbytes

    for logits, nbytes in on_ranks(tmp_path, size, work):
        if int8_cache:  # a last bit may move a code by one step
            assert (logits - expected).norm() < 0.05 * expected.norm()
        else:
            torch.testing.assert_close(logits, expected, atol=2e-3, rtol=2e-3)
        assert nbytes * size == whole.cache.nbytes


CUT = ("llama", "llama-bias", "llama-yarn", "mistral", "qwen2", "qwen3", "gemma", "granite")


@pytest.mark.parametrize("family", [*CUT, "cohere", "smollm3", "starcoder2"])
def test_each_family_cut_in_two(family: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    compare(make(family, tmp_path / "model"), tmp_path, 2)


def test_an_8_bit_cache_is_cut_too(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    compare(make("llama", tmp_path / "model"), tmp_path, 2, int8_cache=True)


def test_four_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "wide", ("llama", {"num_key_value_heads": 4}))
    (tmp_path / "model").mkdir()
    compare(make("wide", tmp_path / "model"), tmp_path, 4)


def test_four_bit_layers_are_cut_at_their_groups(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", intermediate_size=128)
    inputs = {"model": [as_checkpoint(model, tmp_path / "store")]}
    config = QuantizeConfig(group_size=32)
    packed = run_stage(STAGES[0], config, inputs, store=tmp_path / "store").path("model")
    prompt = [random.randrange(300) for _ in range(40)]
    expected = logits_of(open_runner(ModelFolder(packed), RunnerConfig(128, 6), None), prompt)

    def work(group: Group) -> torch.Tensor:
        return logits_of(rank_of(packed, group, RunnerConfig(128, 6, ranks=2)), prompt)

    for logits in on_ranks(tmp_path, 2, work):
        assert (logits - expected).norm() / expected.norm() < 0.2  # bf16: 0.02; other: 1.4


def test_groups_that_do_not_divide_are_named(int4_dir: Path, tmp_path: Path) -> None:
    def work(group: Group) -> str:
        with pytest.raises(ModelError) as error:
            rank_of(int4_dir, group, RunnerConfig(128, 6, ranks=2))
        return str(error.value)

    for said in on_ranks(tmp_path, 2, work):
        assert "down_proj: 5 groups of 32 weights cannot be cut into tensor_parallel 2" in said


def test_says_what_cannot_be_cut(tmp_path: Path) -> None:
    llama = make("llama", tmp_path / "llama")
    for size, says in ((3, "num_attention_heads 4"), (4, "num_key_value_heads 2")):
        with pytest.raises(ModelError, match=rf"{says} cannot be cut into tensor_parallel {size}"):
            check_cut(ModelFolder(llama).config, size, llama)
    for family in ("gpt2", "olmo2", "glm"):
        path = make(family, tmp_path / family)
        with pytest.raises(ModelError, match=f"{family}: tensor_parallel is not supported"):
            check_cut(ModelFolder(path).config, 2, path)
