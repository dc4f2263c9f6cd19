import random

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH

from corpus.dedup.components import components
from corpus.dedup.exact import content_hash, words_of
from corpus.dedup.minhash import MinHasher, band_links, similarity


def _documents(rng: random.Random, count: int) -> list[list[str]]:
    """Random documents, about half of them edited copies of earlier ones."""
    words = [f"w{i}" for i in range(3000)]
    documents: list[list[str]] = []
    for _ in range(count):
        if documents and rng.random() < 0.5:
            copy = list(rng.choice(documents))
            for _ in range(rng.randint(0, len(copy) // 10)):
                copy[rng.randrange(len(copy))] = rng.choice(words)
            documents.append(copy)
        else:
            documents.append(rng.choices(words, k=rng.randint(3, 200)))
    return documents


def _pairs(labels: np.ndarray) -> set[tuple[int, int]]:
    return {(i, j) for j in range(len(labels)) for i in range(j) if labels[i] == labels[j]}


def _jaccard(one: list[str], other: list[str], n: int) -> float:
    a = {tuple(one[i : i + n]) for i in range(len(one) - n + 1)}
    b = {tuple(other[i : i + n]) for i in range(len(other) - n + 1)}
    return len(a & b) / len(a | b)


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (20, 5), (2, 4)])
def test_components_agree_with_datasketch_lsh_on_the_same_signatures(bands: int, rows: int) -> None:
    documents = _documents(random.Random(), 150)
    signatures = MinHasher(bands * rows, 5).signatures(documents)
    ours = components(len(documents), band_links(signatures, bands, rows))
    lsh = MinHashLSH(num_perm=bands * rows, params=(bands, rows))
    sketches = [MinHash(hashvalues=values, scheme="affine32") for values in signatures]
    for i, sketch in enumerate(sketches):
        lsh.insert(i, sketch)
    links = np.array([(i, j) for i, sketch in enumerate(sketches) for j in lsh.query(sketch)])
    assert _pairs(ours) == _pairs(components(len(documents), links))


def test_estimates_agree_with_true_jaccard_as_well_as_datasketch_does() -> None:
    rng = random.Random()
    documents = _documents(rng, 120)
    count = 256
    signatures = MinHasher(count, 5).signatures(documents)
    theirs = []
    for words in documents:
        sketch = MinHash(num_perm=count)
        width = min(5, len(words))
        grams = {" ".join(words[i : i + width]) for i in range(len(words) - width + 1)}
        sketch.update_batch([gram.encode() for gram in grams])
        theirs.append(sketch)
    errors = {"ours": [], "theirs": []}
    for i in range(len(documents)):
        for j in range(i):
            if min(len(documents[i]), len(documents[j])) < 5:
                continue
            true = _jaccard(documents[i], documents[j], 5)
            if true > 0:
                errors["ours"].append(similarity(signatures[i], signatures[j]) - true)
                errors["theirs"].append(theirs[i].jaccard(theirs[j]) - true)
    rms = {name: float(np.sqrt(np.mean(np.square(e)))) for name, e in errors.items()}
    assert len(errors["ours"]) > 20
    assert rms["ours"] < 1.5 * rms["theirs"] + 0.01
    assert abs(float(np.mean(errors["ours"]))) < 0.03


def test_a_signature_depends_on_its_document_alone() -> None:
    documents = _documents(random.Random(), 40)
    together = MinHasher(64, 5).signatures(documents)
    fresh = MinHasher(64, 5)
    alone = np.concatenate([fresh.signatures([words]) for words in reversed(documents)])
    assert np.array_equal(together, alone[::-1])


def test_shingles_against_a_slow_reference_of_counts() -> None:
    rng = random.Random()
    hasher = MinHasher(8, 3)
    for _ in range(50):
        words = rng.choices("abcde", k=rng.randint(1, 60))
        width = min(3, len(words))
        distinct = {tuple(words[i : i + width]) for i in range(len(words) - width + 1)}
        assert len(hasher.shingles(words)) == len(distinct)
    with pytest.raises(ValueError):
        hasher.shingles([])


def test_components_against_a_slow_reference() -> None:
    rng = random.Random()
    for _ in range(30):
        size = rng.randint(1, 40)
        links = [(rng.randrange(size), rng.randrange(size)) for _ in range(rng.randint(0, 40))]
        labels = list(range(size))
        for _ in range(size):
            for a, b in links:
                labels[a] = labels[b] = min(labels[a], labels[b])
        got = components(size, np.array(links, np.int64).reshape(-1, 2))
        assert got.tolist() == labels


def test_content_identity_ignores_case_punctuation_and_space() -> None:
    one, other = "Hello,  World!\n", "hello world"
    assert content_hash(words_of(one)) == content_hash(words_of(other))
    assert content_hash(words_of("a b")) != content_hash(words_of("ab"))
    assert words_of("!!!") == ["!!!"]
