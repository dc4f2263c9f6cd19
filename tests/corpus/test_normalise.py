import random
import unicodedata

import pytest

from corpus.normalise import normalise


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("e\u0301", "\u00e9"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("zero\u200bwidth\ufeff bell\x07", "zerowidth bell"),
        ("  x  \n\n\n\n  y\t\n", "x\n\n  y"),
        ("half \ud800 surrogate", "half  surrogate"),
        ("\x00\x01", ""),
    ],
)
def test_known_cases(raw: str, expected: str) -> None:
    assert normalise(raw) == expected


def test_random_text_comes_out_normal_and_stays_so() -> None:
    rng = random.Random()
    pool = "ab \t\n\r\u0301\u00ad\u200b\ud83d\uac00\u1100\u1161\x0b\x9f中。"
    for _ in range(300):
        text = normalise("".join(rng.choices(pool, k=rng.randint(0, 60))))
        assert normalise(text) == text
        assert unicodedata.is_normalized("NFC", text)
        assert "\n\n\n" not in text
        text.encode("utf-8")
