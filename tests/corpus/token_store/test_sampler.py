"""The sampler against a slow, obvious reference, on fresh random stores."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.token_store import Sampler, TokenStore, TokenStoreWriter
from corpus.token_store.mixture import Mixture, proportional_weights
from corpus.token_store.permutation import Permutation

EOS = 0
VOCAB = 300
Shards = list[tuple[str, list[list[int]]]]
RELAXED = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

documents = st.lists(st.lists(st.integers(1, VOCAB - 1), max_size=12), min_size=1, max_size=8)
shards = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), documents), min_size=1, max_size=6)


def write_store(root: Path, content: Shards) -> TokenStore:
    uid = 1000
    with TokenStoreWriter(root, tokenizer_blake3="t", vocab_size=VOCAB, eos_id=EOS) as writer:
        for domain, docs in content:
            writer.start_shard(domain)
            for doc in docs:
                writer.add(uid, doc)
                uid += 1
    return TokenStore.open(root)


def all_windows(content: Shards, length: int) -> dict[str, list[tuple[int, int, list[int]]]]:
    """Domain -> every (shard, start, tokens), by joining documents in plain lists."""
    found: dict[str, list[tuple[int, int, list[int]]]] = {domain: [] for domain, _ in content}
    for index, (domain, docs) in enumerate(content):
        stream = [token for doc in docs for token in [*doc, EOS]]
        start = 0
        while start + length + 1 <= len(stream):
            found[domain].append((index, start, stream[start : start + length + 1]))
            start += length
    return found


@RELAXED
@given(content=shards, length=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_window_comes_once_per_epoch(
    tmp_path_factory: pytest.TempPathFactory, content: Shards, length: int, seed: int
) -> None:
    store = write_store(tmp_path_factory.mktemp("store"), content)
    expected = all_windows(content, length)
    if not any(expected.values()):
        with pytest.raises(ValueError, match="no shard holds"):
            Sampler(store, length, seed)
        return
    sampler = Sampler(store, length, seed)
    assert sampler.windows_per_epoch() == sum(map(len, expected.values()))
    seen: dict[tuple[str, int], list[tuple[int, int, list[int]]]] = {}
    for k in range(4 * sampler.windows_per_epoch()):
        sample = sampler.sample(k)
        where = sample.location
        seen.setdefault((where.domain, where.epoch), []).append(
            (where.shard, where.start, sample.tokens.tolist())
        )
    for (domain, _), windows in seen.items():
        assert len(windows) <= len(expected[domain])
        if len(windows) == len(expected[domain]):
            assert sorted(windows) == sorted(expected[domain])
        else:
            assert len(set(map(repr, windows))) == len(windows)


@RELAXED
@given(content=shards, length=st.integers(1, 9))
def test_boundaries_and_uids_match_the_documents(
    tmp_path_factory: pytest.TempPathFactory, content: Shards, length: int
) -> None:
    if not any(all_windows(content, length).values()):
        return
    sampler = Sampler(write_store(tmp_path_factory.mktemp("store"), content), length, seed=3)
    uid_of: list[list[int]] = []
    uid = 1000
    for _, docs in content:
        uid_of.append([])
        for doc in docs:
            uid_of[-1] += [uid] * (len(doc) + 1)
            uid += 1
    for k in range(sampler.windows_per_epoch()):
        sample = sampler.sample(k)
        where = sample.location
        spans = np.diff(sample.cu_seqlens)
        assert sample.cu_seqlens.dtype == np.int32
        assert sample.cu_seqlens[0] == 0
        assert sample.cu_seqlens[-1] == length
        assert np.all(spans > 0)
        expected = uid_of[where.shard][where.start : where.start + length]
        assert np.repeat(sample.uids, spans).tolist() == expected


def test_samples_do_not_depend_on_the_order_of_asking(tmp_path: Path) -> None:
    rng = random.Random()
    content = [
        (domain, [[rng.randrange(1, VOCAB) for _ in range(50)] for _ in range(30)])
        for domain in ("a", "b", "a")
    ]
    store = write_store(tmp_path, content)
    order = list(range(400))
    first = Sampler(store, 16, seed=5)
    forward = {k: first.locate(k) for k in order}
    rng.shuffle(order)
    second = Sampler(TokenStore.open(tmp_path), 16, seed=5)
    assert {k: second.locate(k) for k in order} == forward
    other = Sampler(store, 16, seed=6)
    assert [other.locate(k) for k in range(400)] != [forward[k] for k in range(400)]


def test_epochs_are_shuffled_differently(tmp_path: Path) -> None:
    store = write_store(tmp_path, [("a", [[1] * 999])])
    sampler = Sampler(store, 10, seed=0)
    n = sampler.windows_per_epoch("a")
    epochs = [[sampler.locate(e * n + i).window for i in range(n)] for e in range(3)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epochs[0] != sorted(epochs[0])


def test_windows_stay_inside_shards_and_tails_are_counted(tmp_path: Path) -> None:
    store = write_store(tmp_path, [("a", [[1] * 24]), ("a", [[2] * 3]), ("a", [[3] * 20])])
    sampler = Sampler(store, 10, seed=0)
    assert [sampler.windows_per_epoch("a"), sampler.tail_tokens] == [4, 4 + 4 + 0]


def simulate(domains: list[str], schedule: list[tuple[int, dict[str, int]]], end: int) -> list[str]:
    """The deficit rule with fractions, one step after another."""
    from fractions import Fraction

    out = []
    for index, (from_k, weights) in enumerate(schedule):
        until = schedule[index + 1][0] if index + 1 < len(schedule) else end
        whole = sum(weights.values())
        counts: Counter[str] = Counter()
        for step in range(until - from_k):
            lag = {d: Fraction(weights.get(d, 0) * (step + 1), whole) - counts[d] for d in domains}
            chosen = max(domains, key=lambda d: (lag[d], -domains.index(d)))
            counts[chosen] += 1
            out.append(chosen)
    return out


@given(
    first=st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
    second=st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
    switch=st.integers(1, 60),
)
def test_mixture_matches_the_deficit_rule(
    first: dict[str, int], second: dict[str, int], switch: int
) -> None:
    schedule = [(0, first), (switch, second)]
    expected = simulate(list("abc"), schedule, 120)
    mixture = Mixture(list("abc"), schedule)
    counts: Counter[str] = Counter()
    for k, domain in enumerate(expected):
        assert mixture.locate(k) == (domain, counts[domain])
        counts[domain] += 1


def test_mixture_proportions_are_exact_after_a_period() -> None:
    weights = {"a": 5, "b": 3, "c": 1}
    mixture = Mixture(list("abc"), [(0, weights)])
    counts = Counter(mixture.locate(k)[0] for k in range(9 * 7))
    assert counts == {name: 7 * weight for name, weight in weights.items()}
    for k in (10**6, 10**15):
        assert mixture.locate(k)[1] == pytest.approx(k * weights[mixture.locate(k)[0]] / 9, abs=9)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([], "start at sample 0"),
        ([(5, {"a": 1})], "start at sample 0"),
        ([(0, {"a": 1}), (0, {"b": 1})], "must rise"),
        ([(0, {"x": 1})], "no domain 'x'; there are: a, b"),
        ([(0, {"a": -1, "b": 2})], "no whole number"),
        ([(0, {"a": 0})], "must sum to"),
    ],
)
def test_wrong_schedules_are_named(schedule: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(["a", "b"], schedule)


def test_a_weight_on_a_domain_without_windows_is_an_error(tmp_path: Path) -> None:
    store = write_store(tmp_path, [("a", [[1] * 40]), ("b", [[1]])])
    assert Sampler(store, 8, seed=0).locate(3).domain == "a"
    with pytest.raises(ValueError, match="start at sample 0"):
        Sampler(store, 8, seed=0, schedule=[])
    with pytest.raises(ValueError, match="b: no shard of it holds 9 tokens"):
        Sampler(store, 8, seed=0, schedule=[(0, {"a": 1, "b": 1})])


@given(size=st.integers(1, 5000), key=st.binary(max_size=8))
@settings(max_examples=30)
def test_permutation_is_a_bijection(size: int, key: bytes) -> None:
    permutation = Permutation(size, key)
    assert sorted(map(permutation, range(size))) == list(range(size))


def test_permutation_looks_random() -> None:
    """Mean displacement and neighbour order of a uniform permutation of 10,000."""
    size = 10_000
    values = np.array([Permutation(size, b"k")(i) for i in range(size)])
    assert abs(np.abs(values - np.arange(size)).mean() - size / 3) < size * 0.02
    assert abs(np.mean(np.diff(values) > 0) - 0.5) < 0.02
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.04


def test_proportional_weights_keep_small_domains() -> None:
    weights = proportional_weights({"big": 999_000, "small": 3, "empty": 0})
    assert weights["small"] == 1
    assert "empty" not in weights
    assert proportional_weights({"a": 10, "b": 30}) == {"a": 1, "b": 3}


def test_proportional_weights_see_a_small_domain_as_often_as_the_others() -> None:
    assert proportional_weights({"web": 50_000_000, "tiny": 1000}) == {"web": 50_000, "tiny": 1}
    assert proportional_weights({"web": 10**12, "tiny": 1}) == {"web": 60_000, "tiny": 1}
