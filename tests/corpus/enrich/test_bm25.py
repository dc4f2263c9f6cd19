import math
import random
from collections import Counter

import numpy as np

from corpus.enrich import bm25
from corpus.enrich.config import Bm25Config
from tests.corpus.enrich.texts import text


def test_scores_against_the_formula() -> None:
    rng = random.Random()
    config = Bm25Config(terms=5, k1=rng.uniform(0.5, 2), b=rng.random())
    texts = [text(rng, rng.randrange(3), rng.randint(1, 80)) for _ in range(30)]
    seeds = [text(rng, 0, 25) for _ in range(4)]
    vocabulary = bm25.Vocabulary(seeds, 10_000)
    counts = vocabulary.count(texts)
    frequencies = np.bincount(counts.matrix.indices, minlength=len(vocabulary.terms))
    average = float(counts.lengths.mean())
    queries = vocabulary.queries(frequencies, len(texts), config.terms)
    found = bm25.scores(counts, queries, average, config)

    split = [one.split() for one in texts]
    df = {term: sum(term in words for words in split) for term in vocabulary.terms}
    idf = {t: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for t, n in df.items()}
    for row, seed in enumerate(seeds):
        own = Counter(seed.split())
        known = [term for term in sorted(own) if df[term]]
        query = sorted(known, key=lambda term: (-own[term] * idf[term], term))[: config.terms]
        for document, words in enumerate(split):
            norm = config.k1 * (1 - config.b + config.b * len(words) / average)
            expected = sum(
                idf[t] * words.count(t) * (config.k1 + 1) / (words.count(t) + norm) for t in query
            )
            assert math.isclose(found[document, row], expected, rel_tol=1e-4, abs_tol=1e-5)


def test_chinese_is_searched_by_pairs_of_characters() -> None:
    assert bm25.terms_of("数据结构, GPU驱动2", 100) == ["数据", "据结", "结构", "gpu", "驱动", "2"]
    assert bm25.terms_of("字 One_two", 100) == ["字", "one", "two"]


def test_ranks_are_fused() -> None:
    seeds = np.array([0, 0, 0, 1, 1])
    uids = np.array([5, 6, 7, 6, 5], np.uint64)
    values = np.array([3.0, 2.0, 1.0, 9.0, 8.0])
    fused = bm25.fuse(seeds, uids, values, Bm25Config(top=2, fusion=60))
    assert fused == {5: (1 / 61 + 1 / 62, 2), 6: (1 / 62 + 1 / 61, 2)}
    assert bm25.fuse(seeds[:0], uids[:0], values[:0], Bm25Config()) == {}


def test_best_of_keeps_the_best_and_breaks_ties_by_uid() -> None:
    values = np.array([[1, 0], [1, 2], [3, 0]], np.float32)
    uids = np.array([9, 4, 7], np.uint64)
    seeds, found, _ = bm25.best_of(values, uids, 2)
    assert list(zip(seeds.tolist(), found.tolist(), strict=True)) == [(0, 7), (0, 4), (1, 4)]
