# ruff: noqa: RUF001 - full-width and look-alike characters are what is tested
import random
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.normalise import normalise
from corpus.normalise.characters import SPECIAL
from corpus.normalise.needs import COMPOSE, REPLACE, needs

AWKWARD = (
    "ab \t\n\r\u0301\u00ad\u200b\ud83d\ude00\uac00\u1100\u1161\x0b\x9f中。ÃÂ©é—™€\u00a0\u3000"
    "ＡＢ１！ｶﾞﾊﾟï»¿ÐÑ\ufeff\u2028"
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("e\u0301", "\u00e9"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("zero\u200bwidth\ufeff bell\x07", "zerowidth bell"),
        ("  x  \n\n\n\n  y\t\n", "x\n\n  y"),
        ("half \ud800 surrogate", "half  surrogate"),
        ("\x00\x01", ""),
        ("a\u00a0b\u2003c", "a b c"),
        ("cafÃ© â€œhiâ€\x9d", "café “hi”"),
        ("naïve café — “fine”", "naïve café — “fine”"),
        ("ＡＢＣ１２３，你好！", "ABC123，你好！"),
        ("ｶﾞｷﾞｸﾞ", "ガギグ"),
        ("\u3000\u3000段落。", "段落。"),
        ("smile 😀 stays", "smile 😀 stays"),
    ],
)
def test_known_cases(raw: str, expected: str) -> None:
    assert normalise(raw) == expected


def test_full_width_punctuation_is_kept_where_it_is_at_home() -> None:
    assert normalise("Ｏｈ！（ｗｈｙ？）", "en") == "Oh!(why?)"
    assert normalise("好！（为什么？）", "zh") == "好！（为什么？）"
    assert normalise("好！（为什么？）") == "好！（为什么？）"


def check(text: str, language: str | None) -> None:
    normal = normalise(text, language)
    assert normalise(normal, language) == normal
    assert unicodedata.is_normalized("NFC", normal)
    assert "\n\n\n" not in normal
    assert not re.search(r"[ \t]$", normal, re.MULTILINE)
    assert not SPECIAL.search(normal)
    normal.encode("utf-8")


@given(st.text(st.characters(codec=None)), st.sampled_from([None, "en", "zh"]))
def test_any_text_comes_out_normal_and_stays_so(text: str, language: str | None) -> None:
    check(text, language)


@given(st.text(st.sampled_from(AWKWARD)), st.sampled_from([None, "en", "zh"]))
def test_awkward_text_comes_out_normal_and_stays_so(text: str, language: str | None) -> None:
    check(text, language)


def test_the_flags_tell_what_slow_tests_tell() -> None:
    draw = random.Random()
    for _ in range(500):
        text = "".join(draw.choices(AWKWARD + "plain text", k=draw.randint(0, 12)))
        flags = needs(text)
        if SPECIAL.search(text):
            assert flags & REPLACE, ascii(text)
        if not unicodedata.is_normalized("NFC", text):
            assert flags & COMPOSE, ascii(text)
