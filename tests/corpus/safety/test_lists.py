import math
import random
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from clusters.config import ConfigError
from corpus.errors import CorpusError
from corpus.safety.config import (
    DomainListConfig,
    PiiConfig,
    SafetyConfig,
    UrlWordsConfig,
    WordListConfig,
    score_columns,
)
from corpus.safety.domains import DomainList, split_url
from corpus.safety.lists import external_inputs
from corpus.safety.safety import Safety
from corpus.safety.words import WordList, hit_share


def _file(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("url", "hit"),
    [
        ("http://bad.example/", "bad.example"),
        ("https://www.BAD.example:8080/x?y", "bad.example"),
        ("https://deep.sub.bad.example/x", "bad.example"),
        ("https://notbad.example/", None),
        ("https://example/", None),
        ("https://half.example/adult/page", "half.example/adult/"),
        ("https://half.example/other", None),
        ("bad.example/no/scheme", "bad.example"),
        ("http://[broken", None),
        ("", None),
    ],
)
def test_hosts_and_their_sub_domains_are_listed(url: str, hit: str | None) -> None:
    domains = DomainList(["https://www.bad.example/", "half.example/adult/"])
    assert domains.hit(url) == hit


def test_a_malformed_url_has_no_host() -> None:
    assert split_url("http://[::1/") == ("", "")


def _slow_hits(entries: list[str], text: str) -> list[str]:
    """Leftmost longest, whole words: by a regular expression."""
    bodies = "|".join(map(re.escape, sorted(entries, key=len, reverse=True)))
    return re.findall(rf"(?<![^\W_])(?:{bodies})(?![^\W_])", text.lower())


def test_word_lists_against_a_regular_expression() -> None:
    rng = random.Random()
    entries = ["ab", "ab cd", "xyz", "q-r", "zz"]
    words = WordList(entries)
    for _ in range(200):
        pieces = ["ab", "cd", "xyz", "q", "-", "r", " ", " ", ".", "ZZ", "é"]
        text = "".join(rng.choices(pieces, k=20))
        found, wanted = words.hits(text), _slow_hits(entries, text)
        assert set(found) <= set(wanted) | {"ab"}
        if "cd" not in text:
            assert found == wanted


def test_chinese_entries_match_inside_text_and_latin_ones_do_not() -> None:
    words = WordList(["坏词", "bad"])
    assert words.hits("这是坏词啊 badly Bad。") == ["坏词", "bad"]
    assert hit_share(words.hits("这是坏词啊"), "这是坏词啊") == pytest.approx(2 / 5)
    assert hit_share([], "") == 0.0


def test_every_list_gives_a_reason_or_a_column(tmp_path: Path) -> None:
    hosts = _file(tmp_path, "d", "# note\nbad.example\n")
    config = SafetyConfig(
        domains=(DomainListConfig(name="adult", path=hosts),),
        url_words=(
            UrlWordsConfig(name="hard", path=_file(tmp_path, "h", "casino\n")),
            UrlWordsConfig(name="soft", path=_file(tmp_path, "s", "free\nwin\n"), min_hits=2),
        ),
        words=(
            WordListConfig(name="strict", path=_file(tmp_path, "w", "foo\nbar\n"), max_hits=0,
                           exclude=("bar",), languages=("en",)),
            WordListConfig(name="mild", path=_file(tmp_path, "m", "meh\n"), max_share=0.5),
        ),
    )  # fmt: skip
    safety = Safety(config)

    def reason(url: str | None, text: str, language: str = "en") -> str | None:
        answer = safety.judge(url, text, language)
        return f"{answer[0]}.{answer[1].reason}" if answer else None

    assert reason("http://x.bad.example/", "fine") == "safety.domain.adult"
    assert reason("http://ok.example/casino-night", "fine") == "safety.url_words.hard"
    assert reason("http://ok.example/free/win", "fine") == "safety.url_words.soft"
    assert reason("http://ok.example/free/free", "fine") is None
    assert reason(None, "so foo it is") == "safety.words.strict"
    assert reason(None, "so foo it is", "de") is None
    assert reason(None, "so bar it is") is None
    assert reason(None, "meh meh meh yes") == "safety.words.mild"
    assert score_columns(config) == ["strict_words", "mild_words"]
    columns = safety.columns("foo meh meh yes", "en")
    assert columns == {"strict_words": 0.25, "mild_words": 0.5}
    assert math.isnan(safety.columns("foo", "de")["strict_words"])
    assert len(external_inputs(config, "safety")) == 5


def test_masks_can_be_turned_off() -> None:
    safety = Safety(SafetyConfig(pii=PiiConfig(enabled=False)))
    assert safety.mask("a@b.org") == ("a@b.org", {})
    assert Safety(SafetyConfig()).mask("a@b.org") == ("<EMAIL>", {"EMAIL": 1})


def test_a_bad_list_stops_with_its_name(tmp_path: Path) -> None:
    gone = WordListConfig(name="gone", path=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"safety\.words\.0\.path.*cannot be read"):
        external_inputs(SafetyConfig(words=(gone,)), "safety")
    with pytest.raises(CorpusError, match="'gone'"):
        Safety(SafetyConfig(words=(gone,)))
    empty = WordListConfig(name="empty", path=_file(tmp_path, "e", "# nothing\n\n"))
    with pytest.raises(CorpusError, match="holds no entry"):
        Safety(SafetyConfig(words=(empty,)))
    with pytest.raises(ValidationError, match="same name"):
        SafetyConfig(words=(gone, gone))
