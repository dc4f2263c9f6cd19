import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.blocks import BlockManager, BlockTable, OutOfBlocks

SIZE = 4


def check(manager: BlockManager, tables: list[BlockTable]) -> None:
    """What must hold whatever happened before."""
    held = [block for table in tables for block in table.blocks]
    assert manager.in_use == len(set(held))
    assert manager.free + manager.in_use == manager.usable
    assert 0 not in held
    for table in tables:
        assert len(set(table.blocks)) == len(table.blocks)
        assert len(table.contents) <= len(table.blocks)


class World:
    """What each block really holds, kept by the test."""

    def __init__(self, blocks: int, vocab: int, rng: random.Random) -> None:
        self.manager = BlockManager(blocks, SIZE)
        self.rng = rng
        self.vocab = vocab
        self.written: dict[int, tuple[int, ...]] = {}
        """Block -> all tokens from the sequence's first to the block's last."""
        self.live: list[tuple[BlockTable, list[int]]] = []

    def start(self) -> None:
        tokens = [self.rng.randrange(self.vocab) for _ in range(self.rng.randint(1, 5 * SIZE))]
        table = self.manager.find(tokens, len(tokens) - 1)
        for index, block in enumerate(table.blocks):
            assert self.written[block] == tuple(tokens[: (index + 1) * SIZE])
        self.live.append((table, tokens))
        self.compute(len(self.live) - 1)

    def compute(self, index: int) -> None:
        table, tokens = self.live[index]
        before = len(table.blocks)
        try:
            self.manager.grow(table, len(tokens))
        except OutOfBlocks:
            assert len(table.blocks) == before
            self.end(index)
            return
        others = {b for t, _ in self.live if t is not table for b in t.blocks}
        for place in range(before, len(table.blocks)):
            assert table.blocks[place] not in others
        full = len(tokens) // SIZE
        for place in range(full):
            block = table.blocks[place]
            content = tuple(tokens[: (place + 1) * SIZE])
            assert block not in others or self.written[block] == content
            self.written[block] = content
        self.manager.publish(table, tokens, len(tokens))

    def grow(self, index: int) -> None:
        self.live[index][1].append(self.rng.randrange(self.vocab))
        self.compute(index)

    def end(self, index: int) -> None:
        self.manager.release(self.live.pop(index)[0])


@settings(max_examples=60)
@given(st.integers(2, 24), st.integers(1, 3), st.integers(0, 1 << 30))
def test_no_leak_no_double_use_and_never_another_content(
    blocks: int, vocab: int, seed: int
) -> None:
    rng = random.Random(seed)
    world = World(blocks, vocab, rng)
    for _ in range(120):
        action = rng.random()
        if action < 0.4 or not world.live:
            world.start()
        elif action < 0.75:
            world.grow(rng.randrange(len(world.live)))
        elif action < 0.97:
            world.end(rng.randrange(len(world.live)))
        else:
            world.manager.forget()
            world.live = [(t, tokens) for t, tokens in world.live]
        check(world.manager, [table for table, _ in world.live])
    while world.live:
        world.end(0)
    assert world.manager.in_use == 0
    assert world.manager.free == world.manager.usable


def test_equal_hashes_are_no_equal_prefixes() -> None:
    period = (1 << 61) - 1
    assert hash(tuple(range(SIZE))) == hash(tuple(t + period for t in range(SIZE)))
    manager = BlockManager(9, SIZE)
    table = BlockTable()
    manager.grow(table, SIZE)
    manager.publish(table, range(SIZE), SIZE)
    assert manager.find([t + period for t in range(SIZE)], SIZE).blocks == []
    assert manager.find(list(range(SIZE)), SIZE).blocks == table.blocks


def test_equal_blocks_after_other_beginnings_are_apart() -> None:
    manager = BlockManager(9, SIZE)
    table = BlockTable()
    tokens = [1] * SIZE + [2] * SIZE
    manager.grow(table, 2 * SIZE)
    manager.publish(table, tokens, 2 * SIZE)
    assert manager.find([2] * SIZE, SIZE).blocks == []
    assert manager.find([3] * SIZE + [2] * SIZE, 2 * SIZE).blocks == []
    assert len(manager.find(tokens, 2 * SIZE).blocks) == 2


def test_the_beginning_of_an_idle_chain_lives_longest() -> None:
    manager = BlockManager(5, SIZE)
    table = BlockTable()
    tokens = list(range(4 * SIZE))
    manager.grow(table, len(tokens))
    manager.publish(table, tokens, len(tokens))
    manager.release(table)
    other = BlockTable()
    manager.grow(other, 2 * SIZE)
    assert len(manager.find(tokens, len(tokens)).blocks) == 2


def test_too_many_are_refused_whole() -> None:
    manager = BlockManager(4, SIZE)
    table = BlockTable()
    with pytest.raises(OutOfBlocks, match="4 blocks are needed and 3 are free"):
        manager.grow(table, 4 * SIZE)
    assert table.blocks == []
    assert manager.free == 3
    with pytest.raises(ValueError, match="at least 2"):
        BlockManager(1, SIZE)
