import random

import numpy as np
import pytest

from contracts.ngrams import find_words, ngram_hashes, word_list

ALPHABET = "abcXYZ019 .,-'\n\t_#ÀéßΩяЖ中文字。，！カなไ٣\uff21\uff42\uff11\uff76😀\ud800 "
WIDE = {"\uff21": "a", "\uff42": "b", "\uff11": "1", "\uff76": "カ"}


def _slow_words(text: str) -> list[str]:
    """Character by character, by the definition in the module's docstring."""
    words: list[str] = []
    running = False
    for char in text:
        plain = WIDE.get(char, char)
        plain = plain.lower() if len(plain.lower()) == 1 else plain
        if plain in "中文字カなไ":
            words.append(plain)
            running = False
        elif plain.isalnum():
            if running:
                words[-1] += plain
            else:
                words.append(plain)
            running = True
        else:
            running = False
    return words


def _random_text() -> str:
    rng = random.Random()
    return "".join(rng.choices(ALPHABET, k=rng.randint(0, 120)))


def test_words_are_those_of_the_definition() -> None:
    for _ in range(300):
        text = _random_text()
        assert word_list(text) == _slow_words(text), repr(text)


def test_equal_words_have_equal_hashes_and_different_ones_do_not() -> None:
    seen: dict[int, str] = {}
    for _ in range(300):
        text = _random_text()
        for word, value in zip(word_list(text), find_words(text).hashes.tolist(), strict=True):
            assert seen.setdefault(value, word) == word
    assert len(set(seen.values())) == len(seen)


def test_offsets_point_at_the_words() -> None:
    words = find_words("Ein Wort, 第二。")
    cut = [
        "Ein Wort, 第二。"[a:b]
        for a, b in zip(words.starts.tolist(), words.ends.tolist(), strict=True)
    ]
    assert cut == ["Ein", "Wort", "第", "二"]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8, 13, 16, 31])
def test_ngrams_are_equal_where_their_words_are(n: int) -> None:
    rng = random.Random()
    words = rng.choices(["a", "bb", "ccc"], k=200)
    hashes = ngram_hashes(find_words(" ".join(words)).hashes, n)
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    assert len(hashes) == len(grams)
    by_hash: dict[int, tuple[str, ...]] = {}
    for gram, value in zip(grams, hashes.tolist(), strict=True):
        assert by_hash.setdefault(value, gram) == gram
    assert len(by_hash) == len(set(grams))


def test_a_hash_does_not_depend_on_what_stands_around_it() -> None:
    rng = random.Random()
    inner = " ".join(rng.choices(["one", "two", "three", "四", "five6"], k=13))
    (alone,) = ngram_hashes(find_words(inner).hashes, len(find_words(inner).hashes)).tolist()
    around = f"{_random_text()} | {inner} | {_random_text()}"
    assert alone in ngram_hashes(find_words(around).hashes, len(word_list(inner))).tolist()


def test_word_order_and_word_borders_count() -> None:
    grams = {
        int(ngram_hashes(find_words(t).hashes, 2)[0]) for t in ("ab c", "a bc", "c ab", "bc a")
    }
    assert len(grams) == 4


def test_long_words_and_empty_texts() -> None:
    assert len(find_words("").hashes) == 0
    assert len(find_words(" .,\n").hashes) == 0
    long = "x" * 5000
    first, second = find_words(f"{long} {long}y").hashes.tolist()
    assert first != second
    assert ngram_hashes(np.zeros(3, np.uint64), 4).shape == (0,)
    with pytest.raises(ValueError, match="n=0"):
        ngram_hashes(np.zeros(3, np.uint64), 0)
