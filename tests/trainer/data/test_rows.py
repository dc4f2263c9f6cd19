import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.inputs import TINY_MODEL, Inputs
from trainer.config import ModelShape
from trainer.data.rows import Row, collate, empty_row, micro_steps, rank_rows
from trainer.losses.cross_entropy import IGNORE


@given(st.lists(st.lists(st.integers(1, 5), min_size=3, max_size=3), min_size=1, max_size=3))
def test_positions_and_documents_follow_the_segments(lengths: list[list[int]]):
    size = max(sum(row) for row in lengths)
    rows = []
    for parts in lengths:
        segments = np.repeat(np.arange(len(parts), dtype=np.int32), parts)
        padded = np.pad(segments, (0, size - len(segments)), constant_values=len(parts))
        rows.append(Row(np.zeros(size, np.int64), np.zeros(size, np.int64), padded))
    batch = collate(rows)
    assert batch.inputs.shape == batch.labels.shape == batch.positions.shape
    document = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
    for r, row in enumerate(rows):
        start = 0
        for i in range(size):
            if i and row.segments[i] != row.segments[i - 1]:
                start = i
            assert batch.positions[0, r * size + i] == i - start
            for q, other in enumerate(rows):
                for j in range(size):
                    same = q == r and row.segments[i] == other.segments[j]
                    assert same == (document[r * size + i] == document[q * size + j])


@given(st.integers(0, 50), st.integers(1, 40), st.integers(1, 7), st.integers(1, 5))
def test_ranks_share_a_batch_without_gap_or_overlap(
    first: int, count: int, world_size: int, micro_batch: int
):
    shares = [list(rank_rows(first, count, rank, world_size)) for rank in range(world_size)]
    assert sorted(k for share in shares for k in share) == list(range(first, first + count))
    passes = micro_steps(count, world_size, micro_batch)
    assert all(len(share) <= passes * micro_batch for share in shares)
    assert max(len(share) for share in shares) > (passes - 1) * micro_batch


def test_a_packed_row_has_the_loss_of_its_parts_alone(inputs: Inputs):
    """Attention stays inside a segment: neighbours change nothing."""
    from trainer.models.llama import NextTokenLoss, load_tokenizer, new_model

    tokenizer = load_tokenizer(inputs.tokenizer.path("tokenizer"))
    model = new_model(ModelShape.model_validate(TINY_MODEL), 400, tokenizer, seed=1).float()
    loss = NextTokenLoss(model)
    chance = np.random.default_rng()
    parts = [int(n) for n in chance.integers(2, 30, size=3)]
    inputs_ = chance.integers(0, 400, size=sum(parts))
    labels = chance.integers(0, 400, size=sum(parts))
    segments = np.repeat(np.arange(3, dtype=np.int32), parts)
    together = loss(collate([Row(inputs_, labels, segments)]))
    alone = torch.zeros(())
    for part in range(3):
        mine = segments == part
        alone += loss(collate([Row(inputs_[mine], labels[mine], segments[mine] * 0)]))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


def test_padding_carries_no_loss():
    assert empty_row(9).loss_tokens == 0
    assert collate([empty_row(9)]).loss_tokens == 0
    row = Row(np.zeros(3, np.int64), np.array([1, IGNORE, 2]), np.zeros(3, np.int32))
    assert row.loss_tokens == 2


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_batch_smaller_than_a_micro_batch_is_one_pass(world_size: int):
    assert micro_steps(1, world_size, 8) == 1
