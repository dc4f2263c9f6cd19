import random

import pytest
from pydantic import ValidationError

from corpus.language import Identified, identify, refusal
from corpus.language.config import LanguageConfig
from corpus.language.identify import windows

EN = "The committee met on Tuesday and agreed to publish its findings before the summer. "
DE = "Der Ausschuss traf sich am Dienstag und beschloss, seine Ergebnisse bald zu zeigen. "
ZH = "委员会周二开会，同意在夏天之前公布调查结果，并且邀请了许多专家参加讨论。"
ZH_TRADITIONAL = "委員會週二開會，同意在夏天之前公布調查結果，並且邀請了許多專家參加討論。"
CONFIG = LanguageConfig()


@pytest.mark.parametrize(
    ("text", "language"),
    [(EN, "en"), (DE, "de"), (ZH, "zh"), (ZH_TRADITIONAL, "zh"), ("", "und"), ("123 %", "und")],
)
def test_languages(text: str, language: str) -> None:
    found = identify(text, CONFIG)
    assert found.lang == language
    assert 0 <= found.score <= 1
    assert (found.score > 0.9) == (language != "und")


def test_shares_of_a_mixed_document() -> None:
    found = identify(EN * 6 + "\n" + DE * 4, CONFIG)
    assert found.lang == "en"
    assert found.shares["en"] == pytest.approx(0.6, abs=0.12)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert refusal(found, LanguageConfig(min_share=0.9)) == "mixed_languages"
    assert refusal(found, LanguageConfig(keep={"en": 0.3}, min_share=0)) is None


def test_what_comes_later_in_a_long_document_counts() -> None:
    found = identify(EN * 100 + DE * 300, CONFIG)
    assert found.lang == "de"
    assert 0.1 < found.shares["en"] < 0.5


def test_windows_are_bounded_and_reach_both_ends() -> None:
    text = "".join(chr(97 + i % 26) for i in range(10_000))
    read = windows(text, 4, 100)
    pieces = read.split("\n")
    assert [len(piece) for piece in pieces] == [100] * 4
    assert text.startswith(pieces[0])
    assert text.endswith(pieces[-1])
    assert windows(text[:400], 4, 100) == text[:400]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Identified("en", 0.9, {"en": 1.0}), None),
        (Identified("en", 0.4, {"en": 1.0}), "uncertain_language"),
        (Identified("de", 0.9, {"de": 1.0}), "other_language"),
        (Identified("und", 0.0, {}), "other_language"),
        (Identified("en", 0.45, {"en": 0.45, "de": 0.4, "fr": 0.15}), "mixed_languages"),
    ],
)
def test_refusals(found: Identified, reason: str | None) -> None:
    assert refusal(found, CONFIG) == reason


def test_thresholds_per_language_and_the_short_form() -> None:
    assert LanguageConfig(keep=["en", "zh"]).keep == {"en": 0.5, "zh": 0.5}
    config = LanguageConfig(keep={"en": 0.95, "zh": 0.1})
    assert refusal(Identified("en", 0.9, {"en": 1.0}), config) == "uncertain_language"
    assert refusal(Identified("zh", 0.2, {"zh": 1.0}), config) is None
    assert refusal(Identified("fr", 0.2, {"fr": 1.0}), LanguageConfig(keep={})) is None
    with pytest.raises(ValidationError):
        LanguageConfig(keep={"en": 1.5})


def test_any_characters_do_not_raise() -> None:
    draw = random.Random()
    for _ in range(300):
        text = "".join(chr(draw.randrange(0x110000)) for _ in range(draw.randint(0, 50)))
        identify(text, CONFIG)
    assert identify(EN + "\x00\ufffe\ud800", CONFIG).lang == "en"
