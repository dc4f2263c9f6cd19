"""Decode attention over pages against a sum written out place by place."""

import math
import random

import pytest
import torch

from serving.engine.cache import CacheShape, Gathered, Int8Cache, PagedCache, decode
from serving.gpu.paged_decode import PagedRows, paged_decode, splits_for

CPU = torch.device("cpu")


def slow(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> list:
    """One query head over its keys and values, in double."""
    scores = [float(query.double() @ key.double()) * scale for key in keys]
    weights = [math.exp(score - max(scores)) for score in scores]
    mixed = sum(w / sum(weights) * v.double() for w, v in zip(weights, values, strict=True))
    return mixed.tolist()


class Case:
    """Random sequences in a cache, at random shapes."""

    def __init__(self, kind: str, dtype: torch.dtype, splits: int) -> None:
        rng = random.Random()
        torch.manual_seed(rng.getrandbits(32))
        self.group, self.kv_heads = rng.choice([1, 2, 3, 4, 7]), rng.choice([1, 2, 3])
        self.size, self.block = rng.choice([8, 16, 24, 64, 80]), rng.choice([4, 16, 32])
        lengths = [1, rng.randint(2, 63), 64, 65, rng.randint(129, 300)]
        rng.shuffle(lengths)
        widest = -(-max(lengths) // self.block)
        needed = sum(-(-length // self.block) for length in lengths)
        shape = CacheShape(2, needed + 3, self.block, self.kv_heads, self.size)
        self.cache = Int8Cache(shape, CPU) if kind == "int8" else PagedCache(shape, dtype, CPU)
        free = rng.sample(range(1, needed + 3), needed)
        tables = torch.zeros(len(lengths), widest, dtype=torch.int64)
        for row, length in enumerate(lengths):
            count = -(-length // self.block)
            tables[row, :count] = torch.tensor([free.pop() for _ in range(count)])
        # Unused places hold what would be seen if they were read.
        places = torch.arange((needed + 3) * self.block)
        fresh = torch.randn(len(places), 2, self.kv_heads, self.size) + torch.randn(1)
        self.cache.write(1, places, fresh.to(dtype))
        heads = self.group * self.kv_heads
        # As the engine hands them over: a view of a wider tensor.
        self.queries = torch.randn(len(lengths), heads + 2, self.size).to(dtype)[:, :heads]
        self.rows = PagedRows(tables, torch.tensor(lengths), self.block, splits)
        self.scale = rng.uniform(0.1, 0.5)

    def compare(self, tolerance: float) -> None:
        got = paged_decode(self.queries, self.cache.pages(1), self.rows, self.scale)
        assert got.shape == self.queries.shape
        assert got.dtype == self.queries.dtype
        numbers = numbers_of(self.cache.pages(1))
        for row, length in enumerate(self.rows.lengths.tolist()):
            blocks = self.rows.tables[row].tolist()
            at = [blocks[t // self.block] * self.block + t % self.block for t in range(length)]
            for head in range(self.group * self.kv_heads):
                keys, values = numbers[at, :, head // self.group].unbind(1)
                want = slow(self.queries[row, head], keys, values, self.scale)
                assert got[row, head].tolist() == pytest.approx(want, abs=tolerance)


def numbers_of(pages: Gathered) -> torch.Tensor:
    if pages.scales is None or pages.zeros is None:
        return pages.values
    return decode(pages.values, pages.scales, pages.zeros)


@pytest.mark.parametrize("splits", [1, 2, 8])
@pytest.mark.parametrize("kind", ["plain", "int8"])
def test_in_fp32(kind: str, splits: int) -> None:
    Case(kind, torch.float32, splits).compare(3e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["plain", "int8"])
def test_in_two_bytes(kind: str, dtype: torch.dtype) -> None:
    # The interpreter cuts bits off: of numbers from 4 to 8 up to 0.03. Another place is 1 off.
    Case(kind, dtype, random.choice([1, 4])).compare(0.1)


def test_a_row_does_not_depend_on_its_company() -> None:
    case = Case("plain", torch.bfloat16, 4)
    together = paged_decode(case.queries, case.cache.pages(1), case.rows, case.scale)
    for row in range(len(together)):
        own = slice(row, row + 1)
        alone = PagedRows(case.rows.tables[own], case.rows.lengths[own], case.block, 4)
        got = paged_decode(case.queries[own], case.cache.pages(1), alone, case.scale)
        assert torch.equal(got, together[own])


def test_rows_are_cut_to_fill_a_device_and_no_finer() -> None:
    assert splits_for(1, 1, 100, CPU) == 1
    assert splits_for(1, 1, 300, CPU) == 4
    assert splits_for(64, 8, 1 << 20, CPU) == 1
