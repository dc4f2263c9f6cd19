import random
from collections import Counter
from itertools import pairwise

import pytest

from corpus.rules.config import (
    GopherQualityConfig,
    GopherRepetitionConfig,
    NotADocumentConfig,
    RulesConfig,
)
from corpus.rules.gopher_quality import gopher_quality
from corpus.rules.gopher_repetition import (
    duplicate_ngram_share,
    duplicate_shares,
    gopher_repetition,
    top_ngram_share,
)
from corpus.rules.judge import judge
from corpus.rules.not_a_document import not_a_document

GOOD = (
    "The function returns the sum of the numbers that the caller gave, and it raises an "
    "error where there are none to add. Values that have no type are read with care.\n"
)


def _prose(sentences: int) -> str:
    rng = random.Random()
    words = [f"{rng.choice('bdfglmnprst')}{v}{c}" for v in "aeiou" for c in "bdfglmnprst"]
    lines = [" ".join(rng.sample(words, 12)) + "." for _ in range(sentences)]
    return GOOD + "\n".join(lines)


def test_prose_passes_every_rule() -> None:
    assert judge("pkg/guide.md", "web", _prose(20), RulesConfig()) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("too short", "too_few_words"),
        (GOOD + "x " * 300, "words_too_short"),
        (GOOD + "incomprehensibilities " * 60, "words_too_long"),
        (GOOD + "# heading\n" * 40, "too_many_hashes"),
        (GOOD + "and so on... " * 30, "too_many_ellipses"),
        (GOOD + "1234 + 5678 = 6912 " * 30, "too_few_alphabetic_words"),
        ("lorem ipsum dolor sit amet " * 20, "too_few_stop_words"),
        ("- of the many things\n" * 30, "too_many_bullets"),
        (
            ("one of the very many lines\n" * 3 + "this is cut off to…\n" * 2) * 5,
            "too_many_cut_lines",
        ),
    ],
)
def test_each_quality_rule_names_itself(text: str, reason: str) -> None:
    rejection = gopher_quality(text, GopherQualityConfig())
    assert rejection is not None
    assert rejection.reason == reason
    assert rejection.value is not None


def test_a_loosened_threshold_lets_the_document_pass() -> None:
    assert (
        gopher_quality("the sum follows", GopherQualityConfig(min_words=1, min_stop_words=0))
        is None
    )
    assert gopher_quality("x", GopherQualityConfig(enabled=False)) is None


def _slow_duplicate_ngrams(words: list[str], n: int) -> float:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    covered = set()
    for start, gram in enumerate(grams):
        if grams.count(gram) > 1:
            covered |= set(range(start, start + n))
    return sum(len(words[i]) for i in covered) / sum(map(len, words))


def test_repetition_shares_against_slow_references() -> None:
    rng = random.Random()
    for _ in range(60):
        words = rng.choices(["a", "bb", "ccc", "dddd", "eeeee"], k=rng.randint(5, 60))
        for n in (2, 3, 5):
            assert duplicate_ngram_share(words, n) == pytest.approx(
                _slow_duplicate_ngrams(words, n)
            )
            counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
            most = max(counts.values())
            possible = {
                most * sum(map(len, gram)) / sum(map(len, words)) if most > 1 else 0.0
                for gram, count in counts.items() if count == most
            }  # fmt: skip
            assert top_ngram_share(words, n) in possible
        pieces = ["".join(pair) for pair in pairwise(words)]
        seen: set[str] = set()
        again = [p for p in pieces if p in seen or seen.add(p)]
        share, chars = duplicate_shares(pieces)
        assert share == len(again) / len(pieces)
        assert chars == sum(map(len, again)) / sum(map(len, pieces))


def test_repetition_spares_lines_of_the_named_sources_but_not_paragraphs() -> None:
    config = GopherRepetitionConfig(except_sources=("docstrings",))
    lines = _prose(3) + "\nThe same line again." * 40
    assert gopher_repetition(lines, "docstrings", config) is None
    rejection = gopher_repetition(lines, "web", config)
    assert rejection is not None
    assert rejection.reason == "duplicate_lines"
    paragraphs = _prose(3) + "\n\nThe same paragraph again." * 40
    rejection = gopher_repetition(paragraphs, "docstrings", config)
    assert rejection is not None
    assert rejection.reason == "duplicate_paragraphs"


@pytest.mark.parametrize(
    ("id_", "reason"),
    [
        ("numpy/numpy-2.dist-info/licenses/pcg64/readme.md", "license"),
        ("pkg/LICENSE.txt", "license"),
        ("pkg/docs/CHANGELOG.md", "change_log"),
        ("pkg/AUTHORS.rst", "authors"),
        ("pkg/README", None),
        ("torch/torch.optim.history", None),
        ("pkg/guide/licensing-models.md", None),
    ],
)
def test_files_that_are_no_documents(id_: str, reason: str | None) -> None:
    rejection = not_a_document(id_, NotADocumentConfig())
    assert (rejection.reason if rejection else None) == reason
    assert not_a_document(id_, NotADocumentConfig(enabled=False)) is None
