import json
import random
from pathlib import Path

import pytest
import yaml

from corpus.errors import CorpusError
from corpus.rules.calibrate import calibrate, sample, unit_of
from corpus.rules.calibrate_files import calibrated_yaml
from corpus.rules.config import Profile, RulesConfig
from corpus.rules.judge import judge

SYLLABLES = [c + v for c in "bdfgklmnprst" for v in "aeiouäöü"]


def _text(rng: random.Random, words: int) -> str:
    """Prose of a language that does not exist: three little words, and others."""
    out = []
    for i in range(words):
        word = "".join(rng.choices(SYLLABLES, k=rng.randint(1, 4)))
        out.append(rng.choice(["zo", "eth", "ank"]) if i % 4 == 0 else word)
    lines = [" ".join(out[i : i + 15]) + "." for i in range(0, words, 15)]
    return "\n".join(lines)


def _texts(count: int) -> list[str]:
    rng = random.Random()
    return [_text(rng, rng.randint(60, 400)) for _ in range(count)]


def test_most_of_the_sample_passes_and_other_text_does_not() -> None:
    texts = _texts(300)
    profile = calibrate(texts, tail=0.02)
    for rule in (profile.fineweb, profile.curator):
        rule.enabled = True
    config = RulesConfig(languages={"xx": profile})
    fresh = _texts(200)
    kept = sum(judge("x", "s", text, "xx", config) is None for text in fresh)
    assert kept >= 0.6 * len(fresh)
    english = ["The cat sat on the mat, and it was happy to be there.\n" * 3] * 20
    assert all(judge("x", "s", text, "xx", config) is not None for text in english)
    assert {"zo", "eth", "ank"} <= set(profile.gopher_quality.stop_words)


def test_a_wider_tail_is_stricter() -> None:
    texts = _texts(200)
    loose, strict = calibrate(texts, 0.0), calibrate(texts, 0.2)
    assert strict.gopher_quality.min_words > loose.gopher_quality.min_words
    assert strict.gopher_quality.max_words < loose.gopher_quality.max_words
    config = RulesConfig(languages={"xx": loose})
    assert [judge("x", "s", text, "xx", config) for text in texts] == [None] * len(texts)


def test_scripts_without_spaces_are_counted_by_character() -> None:
    rng = random.Random()
    texts = [
        "".join(rng.choices("ありがとうございますたのしいほんやまかわ。", k=400)) for _ in range(60)
    ]
    assert unit_of(texts) == "character"
    profile = calibrate(texts)
    assert profile.unit == "character"
    assert not profile.han.enabled


def test_the_sample_does_not_depend_on_order() -> None:
    texts = _texts(100)
    first = sample(texts, 30)
    random.shuffle(texts)
    assert sample(texts, 30) == first
    assert len(sample([*texts, "", " \n"], 1000)) == 100


def test_the_yaml_is_what_a_recipe_takes(tmp_path: Path) -> None:
    texts = _texts(80)
    path = tmp_path / "good.jsonl"
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
    written = calibrated_yaml(str(path), "xx", "body", 0.02, 1000)
    read = RulesConfig.model_validate(yaml.safe_load(written)["rules"])
    assert isinstance(read.profile("xx"), Profile)
    assert read.profile("xx") == calibrate(sample(texts, 1000), 0.02)


def test_too_few_documents_are_refused() -> None:
    with pytest.raises(CorpusError, match="at least 50 documents, got 3"):
        calibrate(_texts(3))
