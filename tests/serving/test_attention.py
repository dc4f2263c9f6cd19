"""Paged attention against a sum written out token by token."""

import math
import random

import pytest
import torch

from serving.engine.attention import attending, paged_attention
from serving.engine.batch import BatchBuilder, span_for
from serving.engine.blocks import BlockManager
from serving.engine.cache import CacheShape, Int8Cache, PagedCache, decode, encode
from serving.engine.plan import Chunk, Sequence
from serving.engine.scoring import Pack

HEADS, KV_HEADS, SIZE, BLOCK = 6, 2, 8, 4
SHAPE = CacheShape(
    num_layers=2, num_blocks=600, block_size=BLOCK, num_kv_heads=KV_HEADS, head_dim=SIZE
)
CPU = torch.device("cpu")


class Layer(torch.nn.Module):
    layer_idx = 1


def slow(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> list:
    """One query head over the keys and values it may see."""
    scores = [float(query.double() @ key.double()) * scale for key in keys]
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    total = sum(weights)
    mixed = sum(w / total * v.double() for w, v in zip(weights, values, strict=True))
    return mixed.tolist()


class World:
    """Sequences with random keys and values, in a cache and in plain lists."""

    def __init__(self, cache: PagedCache | Int8Cache, rounded: bool) -> None:
        self.cache = cache
        self.rounded = rounded
        self.blocks = BlockManager(SHAPE.num_blocks, BLOCK)
        self.builder = BatchBuilder(BLOCK, torch.float32, CPU)
        self.known: dict[Sequence, tuple[torch.Tensor, torch.Tensor]] = {}

    def sequence(self, length: int) -> Sequence:
        made = Sequence("s", list(range(length)), length)
        self.blocks.grow(made.table, length)
        self.known[made] = (torch.zeros(0, KV_HEADS, SIZE), torch.zeros(0, KV_HEADS, SIZE))
        return made

    def run(
        self,
        decode: list[Chunk],
        prefill: list[Chunk],
        width: int = 0,
        pack: Pack | None = None,
        context: Sequence | None = None,
    ) -> None:
        """One forward's attention, compared with the slow one."""
        blocks = context.table.blocks if context else []
        batch = self.builder.build(decode, prefill, width, pack, blocks)
        rows = batch.ids.shape[1]
        query = torch.randn(1, HEADS, rows, SIZE)
        key, value = torch.randn(2, 1, KV_HEADS, rows, SIZE)
        with attending(batch, self.cache):
            got, _ = paged_attention(Layer(), query, key, value, None, scaling=0.3)
        row = 0
        for chunk in batch.order:
            if row == len(decode):
                row = max(row, width)
            self.compare(got[0], query[0], chunk, key[0, :, row:], value[0, :, row:], row)
            row += chunk.count
        if pack is not None and context is not None:
            self.compare_pack(got[0], query[0], key[0], value[0], pack, context, row)

    def fresh(self, x: torch.Tensor) -> torch.Tensor:
        return decode_all(x) if self.rounded else x

    def compare(
        self,
        got: torch.Tensor,
        query: torch.Tensor,
        chunk: Chunk,
        key: torch.Tensor,
        value: torch.Tensor,
        row: int,
    ) -> None:
        keys, values = self.known[chunk.sequence]
        keys = torch.cat((keys, self.fresh(key[:, : chunk.count].transpose(0, 1))))
        values = torch.cat((values, self.fresh(value[:, : chunk.count].transpose(0, 1))))
        self.known[chunk.sequence] = (keys, values)
        for i in range(chunk.count):
            end = chunk.start + i + 1
            self.check(got[row + i], query[:, row + i], keys[:end], values[:end])

    def compare_pack(
        self,
        got: torch.Tensor,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        pack: Pack,
        context: Sequence,
        row: int,
    ) -> None:
        keys, values = self.known[context]
        for continuation in pack.continuations:
            count = max(len(continuation) - 1, 0)
            own_keys = self.fresh(key[:, row : row + count].transpose(0, 1))
            own_values = self.fresh(value[:, row : row + count].transpose(0, 1))
            for i in range(count):
                seen = (
                    torch.cat((keys, own_keys[: i + 1])),
                    torch.cat((values, own_values[: i + 1])),
                )
                self.check(got[row + i], query[:, row + i], *seen)
            row += count

    def check(
        self, got: torch.Tensor, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> None:
        for head in range(HEADS):
            of = head // (HEADS // KV_HEADS)
            want = slow(query[head], keys[:, of], values[:, of], 0.3)
            assert got[head].tolist() == pytest.approx(want, abs=2e-5)


def decode_all(x: torch.Tensor) -> torch.Tensor:
    return decode(*encode(x))


@pytest.mark.parametrize("kind", ["plain", "int8"])
def test_any_mixture_of_rows(kind: str) -> None:
    rng = random.Random()
    cache = Int8Cache(SHAPE, CPU) if kind == "int8" else PagedCache(SHAPE, torch.float32, CPU)
    world = World(cache, kind == "int8")
    lengths = [rng.randint(2, 40), 63, 64, 65, rng.randint(70, 150)]
    made = [world.sequence(length) for length in lengths]
    for sequence in made:
        cut = rng.randint(1, len(sequence.tokens) - 1)
        world.run([], [Chunk(sequence, 0, cut)])
        if cut < len(sequence.tokens) - 1:
            world.run([], [Chunk(sequence, cut, len(sequence.tokens) - 1 - cut)])
    late = world.sequence(9)
    last = [Chunk(s, len(s.tokens) - 1, 1) for s in made]
    world.run(last, [Chunk(late, 0, 9)], width=rng.choice([0, 8]))
    pack = Pack(9, [(1, 2, 3), (4,), (), (5, 6, 7, 8)])
    world.run([], [], pack=pack, context=late)


def test_codes_lose_half_a_step_at_most() -> None:
    x = torch.randn(5, 3, 16) * torch.rand(5, 3, 1).exp() + torch.randn(5, 3, 1)
    codes, scales, zeros = encode(x)
    assert codes.dtype == torch.int8
    steps = (decode(codes, scales, zeros) - x).abs() / scales[..., None]
    assert steps.max() < 0.51
    for vector, scale in zip(x.flatten(0, 1).tolist(), scales.flatten().tolist(), strict=True):
        assert scale == pytest.approx((max(vector) - min(vector)) / 255, rel=1e-5)
    equal = torch.full((2, 4), 0.7)
    assert torch.allclose(decode(*encode(equal)), equal)


def test_spans_cover_and_waste_little() -> None:
    for length in range(1, 5000):
        span = span_for(length)
        assert span >= length
        assert span % 64 == 0
        assert span <= max(64, 1.34 * length + 64)
