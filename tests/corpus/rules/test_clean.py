import pytest

from corpus.rules.clean import clean
from corpus.rules.config import C4Config, CodeConfig, DclmConfig, Profile, RulesConfig

C4 = RulesConfig(c4=C4Config(enabled=True))
DCLM = RulesConfig(dclm=DclmConfig(enabled=True, max_removed_words=1.0))
KEPT = "This is a sentence that every rule keeps as it is."


def test_without_line_rules_the_text_is_the_same_object() -> None:
    text = "Home\nAbout us\n\n\n\n"
    cleaned = clean("web", text, "en", RulesConfig())
    assert cleaned.text is text
    assert cleaned.dropped == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("A heading without an end", "no_end_mark"),
        ("It goes on and on...", "no_end_mark"),
        ("Yes.", "few_words"),
        ("Please turn Javascript on.", "javascript"),
        ("See our Privacy Policy for more.", "policy"),
        ("A " + "w" * 1001 + " is long.", "long_word"),
    ],
)
def test_each_c4_line_rule_names_itself(line: str, reason: str) -> None:
    cleaned = clean("web", f"{KEPT}\n{line}\n{KEPT}", "en", C4)
    assert cleaned.text == f"{KEPT}\n{KEPT}"
    assert cleaned.dropped == {f"c4.{reason}": 1}


def test_citations_go_and_paragraphs_stay_apart() -> None:
    text = f"It was so in the year.[12][edit]\n\nMenu\n\n{KEPT}[citation needed]"
    assert clean("web", text, "en", C4).text == f"It was so in the year.\n\n{KEPT}"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("THIS IS ALL SHOUTED at you", "upper_case"),
        ("Home", "few_words"),
        ("1234 5678", "digits"),
        ("* 1.2K likes", "counter"),
        ("Sign-in or register", "phrase"),
        ("There is more: read more...", "phrase"),
        ("You have 3 items in cart now", "phrase"),
    ],
)
def test_each_dclm_line_rule_names_itself(line: str, reason: str) -> None:
    config = DclmConfig(enabled=True, max_removed_words=1.0, max_digit_line=0.8)
    cleaned = clean("web", f"{KEPT}\n{line}\n{KEPT}", "en", RulesConfig(dclm=config))
    assert cleaned.text == f"{KEPT}\n{KEPT}"
    assert cleaned.dropped == {f"dclm.{reason}": 1}


def test_a_long_line_with_a_phrase_stays() -> None:
    line = "He was told that there were too many items in cart seven of the shop that day."
    assert clean("web", line, "en", DCLM).text == line


def test_a_document_that_loses_too_much_is_rejected() -> None:
    config = RulesConfig(dclm=DclmConfig(enabled=True))
    kept = clean("web", "\n".join([KEPT] * 40 + ["Home"]), "en", config)
    assert kept.rejection is None
    lost = clean("web", "\n".join([KEPT, "Home", "About", "Login"]), "en", config)
    assert lost.rejection is not None
    rule, rejection = lost.rejection
    assert (rule, rejection.reason) == ("dclm", "too_much_removed")
    assert rejection.value == pytest.approx(3 / 14)


def test_chinese_lines_need_no_spaces() -> None:
    profile = Profile(unit="character", c4=C4Config(enabled=True), dclm=DclmConfig(enabled=True))
    config = RulesConfig(languages={"zh": profile})
    text = "今天的天气很好，我们去公园。\n首页\n他说：“我也去！”"
    assert clean("web", text, "zh", config).text == "今天的天气很好，我们去公园。\n他说：“我也去！”"


def test_code_keeps_its_lines() -> None:
    config = RulesConfig(c4=C4Config(enabled=True), code=CodeConfig(sources=("code",)))
    assert clean("code", "x = 1\n", "en", config).text == "x = 1\n"
