import random

import numpy as np
import pyarrow as pa
import pytest

from contracts.documents import document_uid
from corpus.config import BuildConfig
from corpus.dedup.exact import content_hash
from corpus.dedup.minhash import MinHasher
from corpus.errors import CorpusError
from corpus.split import split_of
from corpus.steps.cluster import cluster
from corpus.steps.select import select

CONFIG = BuildConfig.model_validate(
    {"sources": [{"path": "x", "format": "jsonl", "source": "s"}],
     "split": {"validation_share": 0.3}}
)  # fmt: skip
HASHER = MinHasher(CONFIG.dedup.bands * CONFIG.dedup.rows, CONFIG.dedup.ngram)


def _table(ids: list[str], documents: list[list[str]]) -> pa.Table:
    signatures = HASHER.signatures(documents)
    return pa.table(
        {
            "uid": pa.array([document_uid("s", i) for i in ids], pa.uint64()),
            "id": ids,
            "source": ["s"] * len(ids),
            "bytes": pa.array([sum(map(len, words)) for words in documents], pa.int64()),
            "content": pa.array([content_hash(words) for words in documents], pa.binary(16)),
            "paragraphs": pa.array([[]] * len(ids), pa.list_(pa.uint64())),
            "paragraph_bytes": pa.array([[]] * len(ids), pa.list_(pa.uint32())),
            "signature": [row.astype("<u4").tobytes() for row in signatures],
        }
    )


def _random_table(rng: random.Random) -> pa.Table:
    vocabulary = [f"w{i}" for i in range(2000)]
    documents: list[list[str]] = []
    for _ in range(80):
        if documents and rng.random() < 0.5:
            copy = list(rng.choice(documents))
            copy[rng.randrange(len(copy))] = rng.choice([copy[0], "new"])
            documents.append(copy)
        else:
            documents.append(rng.choices(vocabulary, k=rng.randint(30, 200)))
    return _table([str(rng.random()) for _ in documents], documents)


def test_one_of_each_cluster_stays_and_it_is_the_best() -> None:
    rng = random.Random()
    table = _random_table(rng)
    clusters = cluster(table, CONFIG, seed=1)
    scores = np.array([rng.choice([0.2, 0.5, 0.9]) for _ in range(len(table))], np.float32)
    decided = select(table, clusters, scores, min_score=0.3).to_pylist()
    rows = table.to_pylist()
    groups: dict[int, list[int]] = {}
    for row, number in enumerate(clusters["cluster"].to_pylist()):
        groups.setdefault(number, []).append(row)
    assert len(groups) < len(rows)
    for number, members in groups.items():
        assert number == min(rows[m]["uid"] for m in members)
        best = min(members, key=lambda m: (-scores[m], -rows[m]["bytes"], rows[m]["uid"], m))
        for member in members:
            if member == best:
                expected = "" if scores[best] >= 0.3 else "quality"
                assert decided[member]["stage"] == expected
            else:
                assert decided[member]["stage"] == "dedup"
            assert decided[member]["dup_count"] == len(members)
            assert decided[member]["split"] == split_of(number, 1, 0.3)


def test_the_order_of_rows_changes_no_cluster_and_no_choice() -> None:
    rng = random.Random()
    table = _random_table(rng)
    order = rng.sample(range(len(table)), len(table))
    scores = np.array([rng.random() for _ in range(len(table))], np.float32)

    def outcome(rows: list[int]) -> dict[int, tuple[str, int]]:
        shuffled = table.take(rows)
        decided = select(shuffled, cluster(shuffled, CONFIG, seed=1), scores[rows], 0.1)
        values = zip(*(decided[name].to_pylist() for name in ("stage", "cluster")), strict=True)
        return dict(zip(shuffled["uid"].to_pylist(), values, strict=True))

    assert outcome(list(range(len(table)))) == outcome(order)


def test_equal_content_is_exact_and_a_repeated_id_is_said() -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven"]
    other = ["a", "totally", "different", "text", "that", "stands", "on", "its", "own", "here"]
    table = _table(["a", "b", "a", "a"], [words, words, other, words])
    decided = select(table, cluster(table, CONFIG, seed=1), None, 0.5).to_pylist()
    reasons = sorted(row["reason"] for row in decided)
    assert reasons == ["", "duplicate_id", "exact_duplicate", "exact_duplicate"]
    assert decided[2]["reason"] == "duplicate_id"
    assert all(row["quality"] is None for row in decided)


def test_two_records_of_one_uid_are_an_error() -> None:
    words = ["one", "two", "three", "four", "five", "six"]
    table = _table(["a", "a"], [words, words])
    table = table.set_column(1, "id", pa.array(["a", "b"]))
    with pytest.raises(CorpusError, match="stands for two records"):
        cluster(table, CONFIG, seed=1)


def test_a_document_that_holds_another_is_in_its_split_but_not_its_cluster() -> None:
    rng = random.Random()
    documents = [[str(rng.random()) for _ in range(40)] for _ in range(60)]
    table = _table([str(i) for i in range(60)], documents)
    shared = [[rng.getrandbits(64)] for _ in range(30)]  # each in two documents
    sizes = [size if row < 30 else size // 5 for row, size in enumerate(table["bytes"].to_pylist())]
    for name, lists, kind in (
        ("paragraphs", shared + shared, pa.uint64()),
        ("paragraph_bytes", [[size] for size in sizes], pa.uint32()),
    ):
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(lists, pa.list_(kind)))
    found = cluster(table, CONFIG, seed=5)
    assert len(set(found["cluster"].to_pylist())) == 60
    uids, groups, splits = (
        column.to_pylist() for column in (table["uid"], found["group"], found["split"])
    )
    for one in range(30):
        assert groups[one] == groups[one + 30] == min(uids[one], uids[one + 30])
        assert splits[one] == splits[one + 30] == split_of(groups[one], 5, 0.3)
    assert set(splits) == {"train", "validation"}


def test_split_shares_and_seeds() -> None:
    rng = random.Random()
    numbers = [rng.getrandbits(64) for _ in range(4000)]
    held_out = {n for n in numbers if split_of(n, 7, 0.05) == "validation"}
    assert 120 < len(held_out) < 280
    assert held_out != {n for n in numbers if split_of(n, 8, 0.05) == "validation"}
    assert all(split_of(n, 7, 0.0) == "train" for n in numbers[:100])
