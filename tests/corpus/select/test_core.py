import itertools
import random

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from corpus.errors import CorpusError
from corpus.select.budget import cuts, keys_of
from corpus.select.config import BudgetConfig, DomainsConfig, MixtureConfig, SelectConfig, Threshold
from corpus.select.thresholds import domains_of, outcomes
from corpus.select.weights import (
    caps_of,
    integer_weights,
    repeats_of,
    rounding_notes,
    shares_of,
)
from corpus.token_store.mixture import MAX_PERIOD


def test_keys_order_by_value_and_missing_values_come_last() -> None:
    rng = np.random.default_rng()
    values = rng.normal(size=300).astype(np.float32)
    values[:3] = [0.0, -0.0, np.inf]
    uids = rng.integers(0, 2**63, 300, dtype=np.uint64)
    for highest in (True, False):
        keys = keys_of(values, uids, highest, 1)
        sign = -1 if highest else 1
        order = values[np.argsort(keys)]
        assert (np.diff(sign * order) >= 0).all()
        missing = keys_of(np.array([np.nan], np.float32), uids[:1], highest, 1)
        assert missing[0] > keys.max()
    assert (keys_of(values, uids, True, 1) != keys_of(values, uids, True, 2)).any()


def test_cuts_against_sorting() -> None:
    rng = np.random.default_rng()
    for _ in range(20):
        size = int(rng.integers(1, 400))
        keys = rng.integers(0, 2**64 - 1, size, dtype=np.uint64)
        # Many share their high digits; no two are equal.
        keys[: size // 2] = rng.choice(1 << 24, size // 2, replace=False)
        sizes = rng.integers(1, 100, size)
        domains = rng.choice(np.array(["a", "b"], object), size)
        budgets = {"a": int(rng.integers(0, 8000)), "b": int(rng.integers(0, 8000))}

        def batches(k=keys, s=sizes, d=domains):
            for start in range(0, len(k), 57):
                yield d[start : start + 57], k[start : start + 57], s[start : start + 57]

        for domain, cut in cuts(batches, budgets).items():
            mine = np.flatnonzero(domains == domain)
            order = mine[np.argsort(keys[mine])]
            running = np.cumsum(sizes[order])
            fitting = set(keys[order[running <= budgets[domain]]].tolist())
            taken = set(
                keys[mine].tolist() if cut is None else keys[mine][keys[mine] < cut].tolist()
            )
            assert taken == fitting


def test_a_source_overrides_a_language_and_both_the_column() -> None:
    threshold = Threshold.model_validate(
        {"min": 0.5, "languages": {"zh": {"min": 0.2}}, "sources": {"s": {"max": 0.9}}}
    )
    values = np.array([0.4, 0.4, 0.1, 0.1, 0.95, np.nan])
    languages = np.array(["en", "zh", "zh", "zh", "zh", "en"], object)
    sources = np.array(["t", "t", "t", "s", "s", "t"], object)
    expected = ["below", "", "below", "", "above", ""]
    assert outcomes(values, languages, sources, threshold).tolist() == expected
    threshold.missing = "drop"
    assert outcomes(values, languages, sources, threshold)[-1] == "missing"


def test_domains_by_source_language_and_bucket() -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "source": ["a", "b", "b", "a"],
            "lang": ["en", "zh", "en", "en"],
            "quality": pa.array([0.1, 0.5, 0.7, None], pa.float32()),
        }
    )
    config = DomainsConfig(by=["source", "quality"], edges={"quality": [0.5, 0.6]})
    assert domains_of(batch, config).tolist() == [
        "a/quality<0.5",
        "b/quality>=0.5",
        "b/quality>=0.6",
        "a/quality=none",
    ]
    assert domains_of(batch, DomainsConfig(by=["lang"])).tolist() == ["en", "zh", "en", "en"]
    with pytest.raises(ValidationError, match="has no edges"):
        DomainsConfig(by=["quality"])
    with pytest.raises(ValidationError, match="must rise"):
        DomainsConfig(by=["quality"], edges={"quality": [0.6, 0.5]})


def test_weights_by_size_temperature_and_given() -> None:
    sizes = {"a": 100, "b": 10_000}
    assert shares_of(sizes, MixtureConfig())[0] == pytest.approx({"a": 1 / 101, "b": 100 / 101})
    assert shares_of(sizes, MixtureConfig(temperature=2))[0]["a"] == pytest.approx(1 / 11)
    given = MixtureConfig(weights={"a": 3, "b": 1})
    assert shares_of(sizes, given)[0] == {"a": 0.75, "b": 0.25}
    with pytest.raises(CorpusError, match=r"mixture\.weights\.c: no selected train document"):
        shares_of(sizes, MixtureConfig(weights={"a": 1, "b": 1, "c": 1}))
    with pytest.raises(CorpusError, match="'b' has no weight"):
        shares_of(sizes, MixtureConfig(weights={"a": 1}))


def test_no_domain_is_repeated_more_often_than_allowed() -> None:
    rng = random.Random()
    for _ in range(50):
        sizes = {name: rng.randint(1, 10_000) for name in "abcde"}
        weights = {name: rng.random() + 0.01 for name in sizes}
        train = int(sum(sizes.values()) * rng.uniform(0.1, 1.9))
        config = MixtureConfig(weights=weights, max_repeats=2, train_bytes=train)
        shares, notes = shares_of(sizes, config)
        assert notes == []
        assert sum(shares.values()) == pytest.approx(1)
        repeats = {name: shares[name] * train / sizes[name] for name in sizes}
        assert max(repeats.values()) <= 2 + 1e-9
        free = [name for name in sizes if repeats[name] < 2 - 1e-9]
        for one, other in itertools.pairwise(free):
            assert shares[one] / shares[other] == pytest.approx(weights[one] / weights[other])
    config = MixtureConfig(max_repeats=2, train_bytes=1000)
    shares, notes = shares_of({"a": 10, "b": 30}, config)
    assert shares == pytest.approx({"a": 0.25, "b": 0.75})
    assert "max_repeats" in notes[0]


def test_integer_weights_keep_small_shares_and_are_at_least_one() -> None:
    assert integer_weights({"a": 0.75, "b": 0.25}) == {"a": 750, "b": 250}
    assert integer_weights({"a": 0.9999, "b": 0.0001}) == {"a": 9999, "b": 1}
    assert integer_weights({"a": 1 - 1e-9, "b": 1e-9}) == {"a": 60_000, "b": 1}
    assert integer_weights({}) == {}
    many = {str(i): 1e-9 for i in range(20_000)} | {"big": 1 - 2e-5}
    assert sum(integer_weights(many).values()) <= MAX_PERIOD


def test_whole_weights_hold_max_repeats_too() -> None:
    rng = random.Random()
    for _ in range(200):
        sizes = {str(i): int(10 ** rng.uniform(6, 9)) for i in range(rng.randint(2, 12))}
        config = MixtureConfig(temperature=rng.uniform(1, 5), max_repeats=rng.uniform(1.5, 6))
        shares, notes = shares_of(sizes, config)
        assert notes == []
        weights = integer_weights(shares, caps_of(sizes, config))
        total = sum(weights.values())
        repeats = repeats_of(weights, sizes, config)
        for name, weight in weights.items():
            seen = weight / total * sum(sizes.values()) / sizes[name]
            assert seen == pytest.approx(repeats[name])
            assert seen <= config.max_repeats * 1.01
            # Each domain may lose less than one, and one that is free may gain it all.
            assert abs(weight - shares[name] * total) <= len(sizes)
        assert rounding_notes(repeats, weights, config) == []


def test_a_share_too_small_for_a_weight_is_noted() -> None:
    config = MixtureConfig(max_repeats=4)
    sizes = {"web": 50_000_000_000, "tiny": 2_000_000}
    weights = integer_weights(shares_of(sizes, config)[0], caps_of(sizes, config))
    repeats = repeats_of(weights, sizes, config)
    assert repeats["tiny"] <= 4
    assert rounding_notes(repeats, weights, config) == []
    sizes["tiny"] = 2000
    weights = integer_weights(shares_of(sizes, config)[0], caps_of(sizes, config))
    repeats = repeats_of(weights, sizes, config)
    assert repeats["tiny"] == pytest.approx(50_000_002_000 / 60_000 / 2000, rel=1e-3)
    (note,) = rounding_notes(repeats, weights, config)
    assert "'tiny' is seen 416.7 times" in note


def test_once_over_everything_holds_max_repeats_of_one() -> None:
    sizes = {name: random.randint(1, 10**6) for name in "abcde"}
    shares, notes = shares_of(sizes, MixtureConfig(temperature=3, max_repeats=1))
    whole = sum(sizes.values())
    assert shares == pytest.approx({name: size / whole for name, size in sizes.items()})
    assert notes == []


def test_a_budget_is_bytes_or_tokens() -> None:
    assert BudgetConfig(tokens=10, bytes_per_token=3.5).total == 35
    with pytest.raises(ValidationError, match="either bytes or tokens"):
        BudgetConfig()
    assert SelectConfig().thresholds["quality"].min == 0.05
