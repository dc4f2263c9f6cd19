"""Batches against one sample after another, on fresh random stores."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.token_store import Sampler, TokenStore, TokenStoreWriter
from corpus.token_store.gather import Gather
from corpus.token_store.mixture import Mixture
from corpus.token_store.permutation import Permutation, permute

EOS = 0


def write_store(
    root: Path, rng: random.Random, vocab_size: int, weights: dict[str, int] | None = None
) -> TokenStore:
    with TokenStoreWriter(root, tokenizer_blake3="t", vocab_size=vocab_size, eos_id=EOS) as writer:
        writer.meta.weights = weights
        for shard in range(9):
            writer.start_shard("abc"[shard % 3])
            for uid in range(rng.randrange(1, 30)):
                size = rng.randrange(40)
                writer.add(uid, [rng.randrange(1, vocab_size) for _ in range(size)])
    return TokenStore.open(root)


@pytest.mark.parametrize("vocab_size", [300, 100_000])
def test_a_batch_is_its_samples(tmp_path: Path, vocab_size: int) -> None:
    rng = random.Random()
    store = write_store(tmp_path, rng, vocab_size)
    schedule = [(0, {"a": 5, "b": 2, "c": 1}), (rng.randrange(1, 6000), {"a": 1, "c": 7})]
    sampler = Sampler(store, 7, rng.randrange(99), schedule)
    for first in (0, 16_370, rng.randrange(10**6), 10**14):
        count, world = rng.randrange(1, 40), rng.randrange(1, 5)
        for rank in range(world):
            batch = sampler.batch(first, count, rank, world)
            expected = [sampler.sample(k) for k in range(first + rank, first + count, world)]
            assert batch.tokens.dtype == store.meta.dtype
            assert batch.tokens.tolist() == [sample.tokens.tolist() for sample in expected]
            assert batch.locations.k.tolist() == [sample.location.k for sample in expected]
            for row, sample in enumerate(expected):
                where, places = sample.location, batch.locations
                assert places.domains[places.domain[row]] == where.domain
                assert (places.epoch[row], places.window[row]) == (where.epoch, where.window)
                assert (places.shard[row], places.start[row]) == (where.shard, where.start)
                found = batch.documents[row]
                assert found.uids.tolist() == sample.uids.tolist()
                assert found.cu_seqlens.tolist() == sample.cu_seqlens.tolist()


def test_a_batch_longer_than_a_plan(tmp_path: Path) -> None:
    sampler = Sampler(write_store(tmp_path, random.Random(), 300), 5, seed=1)
    first, count = random.randrange(5000), 33_000
    batch = sampler.batch(first, count)
    assert len(batch.tokens) == count
    for row in random.sample(range(count), 50):
        assert batch.tokens[row].tolist() == sampler.sample(first + row).tokens.tolist()


def test_ranks_share_a_batch_without_gap_or_overlap(tmp_path: Path) -> None:
    sampler = Sampler(write_store(tmp_path, random.Random(), 300), 5, seed=1)
    whole = sampler.batch(100, 10).tokens
    dealt = [sampler.batch(100, 10, rank, 3).tokens for rank in range(3)]
    assert [len(part) for part in dealt] == [4, 3, 3]
    for row in range(10):
        assert whole[row].tolist() == dealt[row % 3][row // 3].tolist()
    assert sampler.batch(100, 1, 1, 2).tokens.shape == (0, 6)
    assert sampler.batch(100, 1, 1, 2).documents == []


def test_what_is_no_batch_is_refused(tmp_path: Path) -> None:
    sampler = Sampler(write_store(tmp_path, random.Random(), 300), 5, seed=1)
    with pytest.raises(IndexError, match="samples count from 0"):
        sampler.batch(-1, 4)
    with pytest.raises(ValueError, match=r"rank 2 is not in 0\.\.1"):
        sampler.batch(0, 4, 2, 2)


def test_a_batch_is_a_copy(tmp_path: Path) -> None:
    sampler = Sampler(write_store(tmp_path, random.Random(), 300), 5, seed=1)
    before = sampler.sample(0).tokens.tolist()
    sampler.batch(0, 4).tokens[:] = 1
    assert sampler.sample(0).tokens.tolist() == before


def test_the_store_s_weights_are_the_default(tmp_path: Path) -> None:
    store = write_store(tmp_path, random.Random(), 300, weights={"a": 3, "b": 1, "c": 0})
    own = Sampler(store, 2, seed=1)
    given_weights = Sampler(store, 2, seed=1, schedule=[(0, {"a": 3, "b": 1})])
    assert np.array_equal(own.batch(0, 400).tokens, given_weights.batch(0, 400).tokens)
    assert np.bincount(own.batch(0, 400).locations.domain).tolist() == [300, 100]


@given(
    segments=st.lists(
        st.tuples(
            st.integers(1, 50),
            st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_counts_carry_over_many_changes_of_the_mixture(
    segments: list[tuple[int, dict[str, int]]],
) -> None:
    starts = np.cumsum([0, *(length for length, _ in segments)]).tolist()
    schedule = [(start, weights) for start, (_, weights) in zip(starts, segments, strict=False)]
    mixture = Mixture(list("abc"), schedule)
    end = starts[-1] + 40
    seen = dict.fromkeys("abc", 0)
    domains, counts = mixture.locate_many(np.arange(end))
    for k in range(end):
        name = "abc"[domains[k]]
        assert (name, counts[k]) == mixture.locate(k)
        assert counts[k] == seen[name], "no window is skipped or taken twice"
        seen[name] += 1


@given(size=st.integers(1, 3000), keys=st.lists(st.binary(max_size=8), min_size=1, max_size=4))
def test_many_points_of_many_permutations(size: int, keys: list[bytes]) -> None:
    made = [Permutation(size, key) for key in keys]
    which = np.random.default_rng().integers(0, len(made), 200)
    indices = np.random.default_rng().integers(0, size, 200)
    table = np.stack([permutation.keys for permutation in made])[which]
    expected = [made[w](i) for w, i in zip(which.tolist(), indices.tolist(), strict=True)]
    assert permute(size, table, indices).tolist() == expected
    with pytest.raises(IndexError, match="outside"):
        permute(size, table[:1], np.array([size]))


def test_gather_reads_no_memory_of_others() -> None:
    arrays = [np.arange(n, dtype=np.uint32) + 1000 * i for i, n in enumerate((10, 4000, 6))]
    gather = Gather(arrays, 6)
    which, start = np.array([0, 1, 2, 1]), np.array([4, 3994, 0, 7])
    taken = gather.take(gather.rows(which, start))
    for row, (array, first) in enumerate(zip(which, start, strict=True)):
        assert taken[row].tolist() == arrays[array][first : first + 6].tolist()
    for bad in ((0, 5), (2, 1), (1, -1)):
        with pytest.raises(IndexError, match="leaves array"):
            gather.rows(np.array([bad[0]]), np.array([bad[1]]))
