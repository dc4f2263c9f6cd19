import math
import random
import unicodedata

import pytest

from corpus.value.layout import CJK, DIGIT, LOWER, NEWLINE, NOISE, TERMINAL, UPPER, character_class
from corpus.value.measures import VARIETY_WORDS, measure
from corpus.value.names import MEASURES
from corpus.value.prose import debris_lines, prose_share

ALPHABET = "aaabbcdEFG  \n\n.,!?'\"“”()-%$|#=<12345 éßЖя数据结构，。《あ한\t😀𠀀\ufffd٣"


def random_text(rng: random.Random) -> str:
    return "".join(rng.choice(ALPHABET) for _ in range(rng.randint(0, 300)))


def slow_words(line: str) -> list[str]:
    """Words of one line, character by character."""
    words: list[str] = []
    before = None
    for character in line:
        kind = character_class(character)
        if kind > NEWLINE:
            fresh = before is None or before <= NEWLINE or kind == CJK
            if fresh or (before == CJK and kind <= DIGIT):
                words.append("")
            words[-1] += character
        before = kind
    return words


def is_plain(word: str) -> bool:
    kinds = [character_class(character) for character in word]
    letters = [LOWER <= kind <= CJK for kind in kinds]
    runs = sum(now and not before for now, before in zip(letters, [False, *letters], strict=False))
    return runs == 1 and not any(kind == DIGIT or kind > TERMINAL + 1 for kind in kinds)


def slow_prose_lines(text: str) -> list[tuple[list[str], bool]]:
    lines = [slow_words(line) for line in text.split("\n")]
    return [(w, len(w) >= 5 and sum(map(is_plain, w)) >= 0.75 * len(w)) for w in lines]


def test_prose_lines_against_a_slow_reference() -> None:
    rng = random.Random()
    for _ in range(200):
        text = random_text(rng)
        lines = slow_prose_lines(text)
        total = sum(len(words) for words, _ in lines)
        inside = sum(len(words) for words, prose in lines if prose)
        assert prose_share(text) == pytest.approx(inside / total if total else 0.0)
        expected = [
            line for line, (words, prose) in zip(text.split("\n"), lines, strict=True)
            if words and not prose
        ]  # fmt: skip
        assert debris_lines(text) == expected


def test_other_measures_against_slow_references() -> None:
    rng = random.Random()
    for _ in range(200):
        text = random_text(rng)
        values = measure(text, "en")
        words = [word for line in text.split("\n") for word in slow_words(line)]
        if not words:
            assert values == dict.fromkeys(MEASURES, 0.0)
            continue
        solid = [c for c in text if character_class(c) > NEWLINE]
        noise = sum(character_class(c) == NOISE for c in solid)
        assert values["noise_share"] == pytest.approx(noise / len(solid))
        filled = [line for line in text.split("\n") if line.strip()]
        ended = [character_class(line.rstrip()[-1]) == TERMINAL for line in filled]
        inside = sum(len(slow_words(line)) for line, end in zip(filled, ended, strict=True) if end)
        assert values["ended_share"] == pytest.approx(inside / len(words))
        short = sum(len(line) < 30 and not end for line, end in zip(filled, ended, strict=True))
        assert values["debris_share"] == pytest.approx(short / len(filled))
        facts = sum(values[f"{kind}_per_token"] for kind in ("numbers", "names", "dates"))
        assert values["facts_per_token"] == pytest.approx(facts)


def test_facts_are_counted() -> None:
    text = "In May 1999 the crew of Ada Lovelace and Bob sailed 12 miles. Then It ended in 3000."
    values = measure(text, "en")
    tokens = len(text.split())
    assert values["dates_per_token"] == pytest.approx(1 / tokens)  # 1999
    assert values["numbers_per_token"] == pytest.approx(2 / tokens)  # 12, 3000
    assert values["names_per_token"] == pytest.approx(4 / tokens)  # May, Ada Lovelace, Bob, It
    assert measure("Das ist ein Haus und ein Hund.", "de")["names_per_token"] == 0


def test_density_tells_repetition_from_prose() -> None:
    rng = random.Random()
    dull = "the same line again and again\n" * 100
    fresh = " ".join(str(rng.getrandbits(60)) for _ in range(300))
    assert measure(dull, "en")["compression"] < 0.1 < 0.4 < measure(fresh, "en")["compression"]
    assert measure(dull, "en")["lexical_variety"] < 0.4
    assert measure(fresh, "en")["lexical_variety"] == pytest.approx(1.0)
    words = [f"w{rng.randrange(5000)}" for _ in range(3000)]
    first = words[:VARIETY_WORDS]
    expected = math.log(len(set(first))) / math.log(len(first))
    assert measure(" ".join(words), "en")["lexical_variety"] == pytest.approx(expected)
    assert measure("数据数据", "zh")["lexical_variety"] == pytest.approx(0.5)


def test_classes_of_characters() -> None:
    for character, kind in (("a", LOWER), ("É", UPPER), ("数", CJK), ("あ", CJK), ("٣", DIGIT),
                            ("。", TERMINAL), ("\x07", NOISE), ("│", NOISE)):  # fmt: skip
        assert character_class(character) == kind, unicodedata.name(character, "?")


def test_hostile_texts_are_measured() -> None:
    for text in ("", "\n\n\n", " ", "\ud800", "a" * 100_000, "\n" * 1000 + "x" + " " * 1000):
        values = measure(text, "en")
        assert set(values) == set(MEASURES)
        assert all(math.isfinite(value) for value in values.values())
