"""Which documents are chosen: by share, bounded, and however the parts are cut."""

import random
from collections import Counter
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.artifact import Artifact
from corpus import sampling
from corpus.sampling import GroupSample, read_grouped, read_texts, sample_texts, shares

MakeCorpus = Callable[..., Artifact]


def rows(count: int = 300) -> list[dict]:
    rng = random.Random()
    return [
        {
            "id": str(i),
            "source": rng.choice(["web", "books"]),
            "lang": rng.choices(["en", "zh", "de"], [20, 3, 1])[0],
            "split": "validation" if rng.random() < 0.1 else "train",
            "text": rng.choice("aé中") * rng.randrange(1, 90),
        }
        for i in range(count)
    ]


def bytes_by(documents: list[dict], column: str) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for row in documents:
        if row["split"] == "train":
            sizes[row[column]] += len(row["text"].encode())
    return sizes


def test_the_sample_is_bounded_and_ignores_how_parts_are_cut(
    make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = rows(900)
    parts = [make_corpus(documents, parts=n).files("documents/") for n in (1, 7)]
    one, many = (sample_texts(p, "train", 9000, seed=4) for p in parts)
    assert one == many
    texts = list(read_texts(parts[1], one.uids))
    assert sum(len(text.encode()) for text in texts) == one.bytes
    slack = 270 * len(one.groups)
    assert 8999 <= one.bytes < 9000 + slack
    assert sample_texts(parts[0], "train", 9000, seed=5).uids != one.uids
    monkeypatch.setattr(sampling, "_FIRST_CANDIDATES", 40)
    assert sample_texts(parts[0], "train", 400, seed=4, weights={"en": 1}).uids == frozenset(
        sample_texts(parts[1], "train", 400, seed=4, weights={"en": 1}).uids
    )


def test_a_low_limit_finds_the_same_documents(
    make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = make_corpus(rows(2000), parts=3).files("documents/")
    expected = sample_texts(parts, "train", 3000, seed=9, weights={"en": 2, "zh": 1})
    for first in (20, 150, 1000):
        monkeypatch.setattr(sampling, "_FIRST_CANDIDATES", first)
        assert sample_texts(parts, "train", 3000, seed=9, weights={"en": 2, "zh": 1}) == expected


def test_shares_of_languages_and_sources(make_corpus: MakeCorpus) -> None:
    documents = rows(900)
    parts = make_corpus(documents).files("documents/")
    found = sample_texts(parts, "train", 4000, seed=1, weights={"en": 1, "zh": 1})
    assert set(found.groups) == {"en", "zh"}
    for group in found.groups.values():
        assert 2000 <= group.bytes < 2000 + 270
    everything = sample_texts(parts, "train", 10**9, seed=1, by="source")
    assert {n: g.bytes for n, g in everything.groups.items()} == bytes_by(documents, "source")
    only = sample_texts(
        parts, "train", 10**9, 1, groups=lambda part, t: [None] * (len(t) - 1) + ["last"]
    )
    assert set(only.groups) == {"last"}
    assert sample_texts(parts, "test", 100, 1).groups == {}
    assert isinstance(everything.groups["web"], GroupSample)


def test_groups_of_neighbours(make_corpus: MakeCorpus) -> None:
    parts = make_corpus(rows(200), parts=2).files("documents/")
    table = [row for part in parts for row in pq.read_table(part).to_pylist()]
    chosen = frozenset(row["uid"] for row in table if row["uid"] % 3)
    found = list(read_grouped(parts, chosen, "lang", 4))
    assert max(len(texts) for _, texts in found) <= 4
    flat = [(name, text) for name, texts in found for text in texts]
    assert flat == [(row["lang"], row["text"]) for row in table if row["uid"] in chosen]


@given(
    sizes=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1000), min_size=1),
    most=st.integers(0, 3000),
    smoothing=st.floats(0, 1),
)
def test_shares_fill_what_there_is(sizes: dict[str, float], most: int, smoothing: float) -> None:
    given_shares = shares(sizes, most, None, smoothing)
    assert all(given_shares[name] <= sizes[name] + 1e-6 for name in given_shares)
    assert sum(given_shares.values()) == pytest.approx(min(most, sum(sizes.values())))


def test_shares_by_hand() -> None:
    sizes = {"en": 10_000.0, "zh": 100.0, "de": 50.0}
    assert shares(sizes, 900, {"en": 1, "zh": 2}, 1.0) == {"zh": 100, "en": 800}
    assert shares({"a": 1e6, "b": 1e4}, 1100, None, 0.5) == pytest.approx({"a": 1000, "b": 100})
    assert shares({"a": 1e6, "b": 1e6}, 1000, None, 0.0) == {"a": 500, "b": 500}
