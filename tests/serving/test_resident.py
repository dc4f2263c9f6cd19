"""Rows kept from step to step show attention what a gather would, bit for bit."""

import random
from typing import Any

import pytest
import torch

from serving.engine.attention import attend, attending
from serving.engine.batch import BatchBuilder
from serving.engine.blocks import BlockManager
from serving.engine.cache import CacheShape, PagedCache
from serving.engine.plan import Chunk, Sequence
from serving.engine.resident import Residents

CPU = torch.device("cpu")
SHAPE = CacheShape(num_layers=2, num_blocks=400, block_size=8, num_kv_heads=2, head_dim=8)


class Rows:
    """Sequences that decode, join, leave and are preempted."""

    def __init__(self, rng: random.Random, residents: Residents, cache: PagedCache) -> None:
        self.rng = rng
        self.cache = cache
        self.residents = residents
        self.blocks = BlockManager(SHAPE.num_blocks, SHAPE.block_size)
        self.kept = BatchBuilder(SHAPE.block_size, torch.float32, CPU, residents)
        self.plain = BatchBuilder(SHAPE.block_size, torch.float32, CPU)
        self.running: list[Sequence] = []
        self.gathered = self.decoded = 0

    def join(self) -> None:
        """A sequence whose prompt is computed."""
        made = Sequence("s", [1] * self.rng.randint(1, 150), 1)
        self.running.append(made)
        self.prefill(made)

    def prefill(self, sequence: Sequence) -> None:
        length = len(sequence.tokens)
        self.blocks.grow(sequence.table, length)
        for layer in range(SHAPE.num_layers):
            self.forward([], [Chunk(sequence, 0, length)], layer)

    def leave(self) -> None:
        gone = self.running.pop(self.rng.randrange(len(self.running)))
        self.blocks.release(gone.table)

    def preempt(self) -> None:
        """It gives its blocks back, and its keys and values are computed anew: others."""
        again = self.rng.choice(self.running)
        self.blocks.release(again.table)
        again.preemptions += 1
        again.tokens = again.tokens[: self.rng.randint(1, len(again.tokens))]
        self.prefill(again)

    def step(self) -> None:
        """Some of them decode, in any order."""
        chosen = self.rng.sample(self.running, self.rng.randint(1, len(self.running)))
        chunks = []
        for sequence in chosen:
            sequence.tokens.append(1)
            self.blocks.grow(sequence.table, len(sequence.tokens))
            chunks.append(Chunk(sequence, len(sequence.tokens) - 1, 1))
        batch = self.kept.build(chunks, [])
        plain = self.plain.build(batch.order, [])
        assert plain.ids.shape == batch.ids.shape
        assert [b.count for b in plain.buckets] == [b.count for b in batch.buckets]
        for layer in range(SHAPE.num_layers):
            state: Any = torch.randn(len(chunks), 8, 8)
            seen = [self.attended(each, state, layer) for each in (batch, plain)]
            assert torch.equal(*seen)
        self.decoded += len(chunks)
        self.gathered += sum(len(b.resident.new) for b in batch.buckets if b.resident)

    def forward(self, decode: list[Chunk], prefill: list[Chunk], layer: int) -> None:
        batch = self.plain.build(decode, prefill)
        self.attended(batch, torch.randn(batch.ids.shape[1], 8, 8), layer)

    def attended(self, batch: Any, state: torch.Tensor, layer: int) -> torch.Tensor:
        fresh = state[:, 4:].unflatten(1, (2, 2))
        with attending(batch, self.cache):
            return attend(layer, state[:, :4], fresh, 0.3)


@pytest.mark.parametrize("budget", [1 << 30, 200_000, 0])
def test_any_life_of_rows(budget: int) -> None:
    seed = random.randrange(1 << 30)
    cache = PagedCache(SHAPE, torch.float32, CPU)
    rows = Rows(random.Random(seed), Residents(cache, budget), cache)
    for _ in range(6):
        rows.join()
    for _ in range(120):
        rows.rng.choice([rows.step] * 8 + [rows.join, rows.leave, rows.preempt])()
        while len(rows.running) < 2:
            rows.join()
        while len(rows.running) > 9:
            rows.leave()
        if rows.rng.random() < 0.02:
            rows.residents.forget()
    assert rows.decoded > 100, f"seed {seed}"


def test_rows_that_stay_are_gathered_once() -> None:
    cache = PagedCache(SHAPE, torch.float32, CPU)
    rows = Rows(random.Random(), Residents(cache), cache)
    for length in (70, 80, 90):
        made = Sequence("s", [1] * length, 1)
        rows.running.append(made)
        rows.prefill(made)
    order = list(rows.running)
    for _ in range(10):
        chunks = []
        for sequence in random.sample(order, len(order)):
            sequence.tokens.append(1)
            rows.blocks.grow(sequence.table, len(sequence.tokens))
            chunks.append(Chunk(sequence, len(sequence.tokens) - 1, 1))
        batch = rows.kept.build(chunks, [])
        rows.gathered += sum(len(b.resident.new) for b in batch.buckets if b.resident)
    assert rows.gathered == 3


def test_tables_stay_within_the_budget() -> None:
    cache = PagedCache(SHAPE, torch.float32, CPU)
    budget = cache.table_bytes(4, 128)
    residents = Residents(cache, budget)
    sequences = [Sequence("s", [1] * 500, 1) for _ in range(9)]
    chunks = [Chunk(sequence, 100, 1) for sequence in sequences]
    assert residents.take(128, chunks[:4]) is not None
    assert residents.take(64, chunks[:8]) is not None  # in place of the other
    assert residents.take(64, chunks) is None
    assert residents.take(192, chunks[:4]) is None
