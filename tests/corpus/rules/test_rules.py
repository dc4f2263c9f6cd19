import random
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from corpus.rules.code import code
from corpus.rules.config import (
    C4Config,
    CodeConfig,
    CuratorConfig,
    DclmConfig,
    FineWebConfig,
    GopherQualityConfig,
    GopherRepetitionConfig,
    HanConfig,
    NotADocumentConfig,
    Profile,
    RulesConfig,
)
from corpus.rules.curator import curator
from corpus.rules.fineweb import fineweb
from corpus.rules.gopher_quality import gopher_quality
from corpus.rules.gopher_repetition import gopher_repetition
from corpus.rules.han import han
from corpus.rules.judge import judge
from corpus.rules.lines import count_sentences
from corpus.rules.not_a_document import not_a_document
from corpus.rules.repetition import duplicate_ngram_shares, duplicate_shares, top_ngram_share
from corpus.rules.statistics import DIGIT, HAN, SPACE, UPPER, Statistics, Tokens

GOOD = (
    "The function returns the sum of the numbers that the caller gave, and it raises an "
    "error where there are none to add. Values that have no type are read with care.\n"
)
HAN_WORDS = "山水人家春夏秋冬东西南北红花绿叶高低远近书本文字天地日月星辰江河湖海草木鸟兽"


def _prose(sentences: int) -> str:
    rng = random.Random()
    words = [f"{rng.choice('bdfglmnprst')}{v}{c}" for v in "aeiou" for c in "bdfglmnprst"]
    lines = [" ".join(rng.sample(words, 12)) + "." for _ in range(sentences)]
    return GOOD + "\n".join(lines)


def _han(sentences: int) -> str:
    rng = random.Random()
    sentence = "的了在是"
    return "".join(
        "".join(rng.sample(HAN_WORDS, 12)) + rng.choice(sentence) + "。\n" for _ in range(sentences)
    )


def test_prose_passes_every_rule() -> None:
    profile = Profile(
        c4=C4Config(enabled=True),
        dclm=DclmConfig(enabled=True),
        fineweb=FineWebConfig(enabled=True),
        curator=CuratorConfig(enabled=True),
    )
    config = RulesConfig(languages={"en": profile})
    assert judge("pkg/guide.md", "web", _prose(20), "en", config) is None
    assert judge("pkg/guide.md", "web", _prose(20), "de", RulesConfig()) is None


def test_chinese_is_judged_by_characters() -> None:
    text = _han(30)
    assert judge("x", "web", text, "zh", RulesConfig()) is None
    rejected = judge("x", "web", text, "en", RulesConfig())
    assert rejected is not None
    assert rejected[1].reason == "too_few_words"


@pytest.mark.parametrize(
    ("text", "rule", "reason"),
    [
        (_han(3), "han", "too_few_characters"),
        ("春花，\n" * 2 + "的了\n" * 120, "han", "short_lines"),
        ("好 " + "these are foreign words and more of them " * 9, "han", "too_few_ideographs"),
        ("春夏秋冬的东西南北了红花绿叶高低。\n" * 40, "han", "repeated_13_grams"),
    ],
)
def test_each_chinese_rule_names_itself(text: str, rule: str, reason: str) -> None:
    rejection = han(Statistics(text, "character"), HanConfig())
    assert rejection is not None
    assert (rule, rejection.reason) == (rule, reason)


def test_what_is_said_of_a_language_changes_the_profile_above() -> None:
    said = {
        "c4": {"enabled": True, "min_sentences": 7},
        "gopher_quality": {"min_words": 31},
        "languages": {"de": {"gopher_quality": {"stop_words": ["der"]}}},
    }
    config = RulesConfig.model_validate(said)
    german = config.profile("de")
    assert (german.c4.enabled, german.c4.min_sentences) == (True, 7)
    assert german.gopher_quality.min_words == 31
    assert german.gopher_quality.stop_words == ("der",)
    assert not config.profile("zh").c4.enabled
    assert RulesConfig.model_validate(config.model_dump()) == config
    models = {name: getattr(config, name) for name in ("c4", "gopher_quality")}
    assert RulesConfig.model_validate(models | {"languages": said["languages"]}) == config


def test_languages_keep_the_built_in_profiles_beside_new_ones() -> None:
    config = RulesConfig(languages={"de": Profile(unit="word")})
    assert set(config.languages) == {"zh", "ja", "de"}
    assert config.profile("zh").unit == "character"
    assert config.profile("fr") is config
    own = RulesConfig.model_validate({"languages": {"zh": {"unit": "word"}}})
    assert own.profile("zh").unit == "word"
    assert RulesConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "too_few_words"),
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
    rejection = gopher_quality(Statistics(text), GopherQualityConfig())
    assert rejection is not None
    assert rejection.reason == reason
    assert rejection.value is not None


def test_a_loosened_threshold_lets_the_document_pass() -> None:
    loose = GopherQualityConfig(min_words=1, min_stop_words=0)
    assert gopher_quality(Statistics("the sum follows"), loose) is None
    assert gopher_quality(Statistics("x"), GopherQualityConfig(enabled=False)) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A title\nAnother title\n" * 5, "lines_without_punctuation"),
        ("Short one.\n" + "Shorter.\nTiny.\n", "short_lines"),
        ("This line is said more than once here.\n" * 2, "duplicate_line_characters"),
        ("\n".join(f"Antidisestablishmentarianistically{i}.." for i in range(9)), "list"),
    ],
)
def test_each_fineweb_rule_names_itself(text: str, reason: str) -> None:
    rejection = fineweb(Statistics(text), FineWebConfig(enabled=True))
    assert rejection is not None
    assert rejection.reason == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("!?!?!? %%% yes", "symbols"),
        ("2020 2021 2022 and so it went", "digits"),
        ("a  b  c  d", "white_space"),
        ("(a) (b) it is enough for everyone here", "parentheses"),
        ("x" * 1001 + " and more", "long_word"),
        ("See https://example.org/a/very/long/path/to/nothing now", "urls"),
        (GOOD * 3 + "http://pornsite.example/", "pornographic_url"),
        ("Read our privacy policy here.\n\nThe terms of use apply.", "boilerplate"),
        ("no end here\nnor is one here\nor here", "open_sentences"),
    ],
)
def test_each_curator_rule_names_itself(text: str, reason: str) -> None:
    config = CuratorConfig(enabled=True)
    rejection = curator(Statistics(text), config)
    assert rejection is not None
    assert rejection.reason == reason


def test_letters_of_another_alphabet_are_seen() -> None:
    config = CuratorConfig(
        enabled=True, alphabet="abcdefghijklmnopqrstuvwxyz", max_open_sentences=1
    )
    assert curator(Statistics("Plain English words are here."), config) is None
    rejection = curator(Statistics("Здесь слова, not words of ours."), config)
    assert rejection is not None
    assert rejection.reason == "foreign_letters"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\n", "too_few_lines"),
        ("# note\n" + "x = 1\n" * 20 + "y" * 1001, "long_line"),
        ("# note\n" + "x = " + "y" * 150 + "\n" + ("z" * 140 + "\n") * 20, "long_lines"),
        ("# note\n" + "{}[]();;,,..::==++\n" * 30, "too_few_alphanumerics"),
        ("# n\n" + "1234567890\n" * 30, "too_few_letters"),
        ('<?xml version="1.0"?>\n' + "<!-- c --><item>words</item>\n" * 30, "xml"),
        ("value = another_value\n" * 30, "comments"),
    ],
)
def test_each_code_rule_names_itself(text: str, reason: str) -> None:
    rejection = code(Statistics(text), CodeConfig())
    assert rejection is not None
    assert rejection.reason == reason


def test_code_is_judged_by_the_rules_for_code_alone() -> None:
    program = "# adds\n" + "".join(f"def add_{i}(a, b):\n    return a + b\n" for i in range(20))
    config = RulesConfig(code=CodeConfig(sources=("programs",)))
    assert judge("a.py", "programs", program, "en", config) is None
    assert judge("a.py", "web", program, "en", config) is not None


def _slow_kinds(text: str) -> dict[int, int]:
    return {
        SPACE: sum(c.isspace() for c in text),
        DIGIT: sum(c.isdigit() for c in text),
        UPPER: sum(c.isupper() for c in text),
        HAN: sum("\u3400" <= c <= "\u4dbf" or "\u4e00" <= c <= "\u9fff" for c in text),
    }


def test_statistics_against_slow_references() -> None:
    rng = random.Random()
    for _ in range(200):
        text = "".join(rng.choices("abcXY 12\n\t,.#中文字é\u3000ß_-", k=rng.randint(1, 150)))
        stats = Statistics(text)
        words = text.split()
        assert stats.num_words == len(words)
        if words:
            assert stats.mean_word_length == pytest.approx(sum(map(len, words)) / len(words))
            assert stats.max_word_length == max(map(len, words))
            alphabetic = sum(any(map(str.isalpha, word)) for word in words)
            assert stats.alphabetic_words == pytest.approx(alphabetic / len(words))
        assert stats.tokens.lengths.tolist() == [len(w) for w in re.findall(r"\w+", text)]
        for kind, count in _slow_kinds(text).items():
            assert stats.share(kind) == pytest.approx(count / len(text))
        single = re.findall(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", text)
        assert Statistics(text, "character").num_words == len(single)


def test_stop_words_are_found_across_blocks() -> None:
    wanted = frozenset({"needle", "pin"})
    for place in range(4080, 4112, 3):
        text = "x" * place + " needle " + "y " * 3000 + "Pin"
        assert Statistics(text).stop_words(wanted, 2) == 2
    assert Statistics("needles pins").stop_words(wanted, 2) == 0
    assert Statistics("我的书了", "character").stop_words(frozenset("的了"), 2) == 2


def _tokens(words: list[str]) -> Tokens:
    return Statistics(" ".join(words)).tokens


def _slow_duplicate_ngrams(words: list[str], n: int) -> float:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    covered = set()
    for start, gram in enumerate(grams):
        if grams.count(gram) > 1:
            covered |= set(range(start, start + n))
    return sum(len(words[i]) for i in covered) / sum(map(len, words))


def _slow_top_ngram(words: list[str], n: int) -> float:
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    most = max(counts.values(), default=0)
    longest = max((sum(map(len, g)) for g, c in counts.items() if c == most), default=0)
    return most * longest / sum(map(len, words)) if most > 1 else 0.0


def test_repetition_shares_against_slow_references() -> None:
    rng = random.Random()
    for _ in range(80):
        words = rng.choices(["a", "bb", "ccc", "dddd", "eeeee"], k=rng.randint(1, 60))
        tokens = _tokens(words)
        sizes = sorted(rng.sample(range(2, 12), 4))
        assert dict(duplicate_ngram_shares(*tokens, sizes)) == pytest.approx(
            {n: _slow_duplicate_ngrams(words, n) for n in sizes}
        )
        for n in (2, 3, 4):
            share = _slow_top_ngram(words, n)
            assert top_ngram_share(*tokens, n) == pytest.approx(share)
            least = rng.random()
            assert (top_ngram_share(*tokens, n, least) > least) == (share > least)
        pieces = ["".join(pair) for pair in pairwise(words)] or ["x"]
        seen: set[str] = set()
        again = [p for p in pieces if p in seen or seen.add(p)]
        share, chars = duplicate_shares(pieces)
        assert share == len(again) / len(pieces)
        assert chars == sum(map(len, again)) / sum(map(len, pieces))
    empty = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    assert dict(duplicate_ngram_shares(*empty, (5, 6))) == {5: 0.0, 6: 0.0}
    assert duplicate_shares([]) == (0.0, 0.0)


def test_repetition_spares_lines_of_the_named_sources_but_not_paragraphs() -> None:
    config = GopherRepetitionConfig(except_sources=("docstrings",))
    lines = Statistics(_prose(3) + "\nThe same line again." * 40)
    assert gopher_repetition(lines, "docstrings", config) is None
    rejection = gopher_repetition(lines, "web", config)
    assert rejection is not None
    assert rejection.reason == "duplicate_lines"
    paragraphs = Statistics(_prose(3) + "\n\nThe same paragraph again." * 40)
    rejection = gopher_repetition(paragraphs, "docstrings", config)
    assert rejection is not None
    assert rejection.reason == "duplicate_paragraphs"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0),
        ("No end", 1),
        ('He said: "Go!" She went. Then', 3),
        ("Version 2.5 is out.", 1),
        ("一句。两句！还有？", 3),
        ("A title\nA sentence.", 2),
    ],
)
def test_sentences_are_counted(text: str, sentences: int) -> None:
    assert count_sentences(text) == sentences
    assert count_sentences(text, 1) == min(sentences, 1)


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


@pytest.mark.parametrize(
    "text", ["\x00", "\ud800 lone", "\U000e0041" * 60, "a" * 200_000, "\n" * 9]
)
def test_hostile_texts_are_judged_and_do_no_harm(text: str) -> None:
    config = RulesConfig(code=CodeConfig(sources=("code",)))
    for language in ("en", "zh"):
        for source in ("web", "code"):
            assert judge("x", source, text, language, config) is not None


def test_naming_a_built_in_profile_changes_it_rule_by_rule() -> None:
    config = RulesConfig.model_validate({"languages": {"zh": {"han": {"min_chars": 20}}}})
    whole = RulesConfig().profile("zh")
    changed = config.profile("zh")
    assert (changed.unit, changed.han.min_chars) == ("character", 20)
    assert changed.gopher_repetition == whole.gopher_repetition
    assert changed.han.model_copy(update={"min_chars": 200}) == whole.han
    with pytest.raises(ValueError, match="min_char"):
        RulesConfig.model_validate({"languages": {"zh": {"han": {"min_char": 20}}}})
