import random

import numpy as np
import pyarrow as pa

from corpus.config import SplitConfig
from corpus.dedup.paragraphs import Paragraphs, long_paragraphs
from corpus.leakage import measure
from corpus.split import decide, split_groups, split_of


def _table(texts: list[str], min_chars: int = 100) -> pa.Table:
    found = [long_paragraphs(text, min_chars) for text in texts]
    return pa.table(
        {
            "bytes": pa.array([len(text.encode()) for text in texts], pa.int64()),
            "paragraphs": pa.array([list(f) for f in found], pa.list_(pa.uint64())),
            "paragraph_bytes": pa.array([list(f.values()) for f in found], pa.list_(pa.uint32())),
        }
    )


def _paragraph(rng: random.Random) -> str:
    return " ".join(f"{rng.random():.9f}" for _ in range(12))


def _groups(texts: list[str], clusters: np.ndarray) -> np.ndarray:
    table = _table(texts)
    return split_groups(
        clusters, table["bytes"].to_numpy(), Paragraphs.of_table(table), SplitConfig()
    )


def test_quotation_links_and_boilerplate_does_not() -> None:
    rng = random.Random()
    boilerplate = _paragraph(rng)
    own = [[_paragraph(rng) for _ in range(4)] for _ in range(40)]
    texts = ["\n\n".join([*parts, boilerplate]) for parts in own]
    texts[7] += "\n\n" + own[3][0]
    texts[9] += "\n\n" + own[7][1]
    clusters = np.array(rng.sample(range(1 << 40), 40), np.uint64)
    groups = _groups(texts, clusters)
    assert len({groups[3], groups[7], groups[9]}) == 1
    assert groups[3] == clusters[[3, 7, 9]].min()
    others = [row for row in range(40) if row not in (3, 7, 9)]
    assert (groups[others] == clusters[others]).all()


def test_copies_in_one_cluster_do_not_make_a_paragraph_boilerplate() -> None:
    rng = random.Random()
    text = "\n\n".join(_paragraph(rng) for _ in range(4))
    quoted = text.split("\n\n")[0] + "\n\n" + _paragraph(rng)
    clusters = np.array([8] * 30 + [5], np.uint64)
    assert set(_groups([text] * 30 + [quoted], clusters).tolist()) == {5}


def test_a_family_too_large_for_the_validation_split_goes_to_train() -> None:
    config = SplitConfig(validation_share=0.4)
    numbers = np.arange(200, dtype=np.uint64)
    family = next(n for n in range(100) if split_of(n, 1, 0.4) == "validation")
    groups = numbers.copy()
    sizes = np.full(200, 1000)
    alone = decide(numbers, groups, sizes, config, 1)
    assert alone == [split_of(n, 1, 0.4) for n in range(200)]
    groups[100:150] = family
    together = decide(numbers, groups, sizes, config, 1)
    assert set(together[100:150]) == {together[family]} == {"train"}
    groups[110:150] = numbers[110:150]
    assert decide(numbers, groups, sizes, config, 1)[100] == "validation"


def test_leakage_is_what_reading_every_paragraph_says() -> None:
    rng = random.Random()
    pool = [_paragraph(rng) for _ in range(30)]
    documents = [rng.sample(pool, 2) + ["short"] * rng.randint(0, 30) for _ in range(25)]
    split = np.array(["train"] * 10 + [rng.choice(["train", "validation"]) for _ in range(15)])
    split[-1] = "validation"
    groups = np.array([rng.randrange(15) for _ in documents], np.uint64)
    texts = ["\n\n".join(parts) for parts in documents]
    report = measure(_table(texts), groups, split)
    trained = {p for parts, s in zip(documents, split, strict=True) if s == "train" for p in parts}
    shared = [
        sum(len(p) for p in parts if p in trained and len(p) >= 100) if s == "validation" else 0
        for parts, s in zip(documents, split, strict=True)
    ]
    held_out = sum(len(t) for t, s in zip(texts, split, strict=True) if s == "validation")
    assert report.bytes_in_train == sum(shared)
    assert report.validation_bytes == held_out
    assert abs(report.share_in_train - sum(shared) / held_out) < 1e-12
    assert report.documents_mostly_in_train == sum(
        2 * inside > len(text) for inside, text in zip(shared, texts, strict=True)
    )
    numbers = groups.tolist()
    assert report.groups == len(set(numbers))
    assert report.largest_group == max(map(numbers.count, numbers))
    assert report.linked_documents == sum(numbers.count(n) > 1 for n in numbers)


def test_no_validation_documents_leak_nothing() -> None:
    report = measure(_table(["a", "b"]), np.array([1, 2], np.uint64), np.array(["train", "train"]))
    assert (report.validation_documents, report.share_in_train) == (0, 0.0)
