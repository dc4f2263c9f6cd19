import json
import random
import re
from pathlib import Path

import pytest

from contracts.engine import Guide, GuideKind, InvalidSampling
from serving.engine.guide import Guides, Matcher
from serving.tokenizer import ChatTokenizer


@pytest.fixture(scope="module")
def tokenizer(model_dir: Path) -> ChatTokenizer:
    return ChatTokenizer.load(model_dir)


@pytest.fixture(scope="module")
def guides(tokenizer: ChatTokenizer) -> Guides:
    # More rows than tokens, as padded output projections have.
    return Guides(lambda: (tokenizer.plain, list(tokenizer.stop_ids)), tokenizer.vocab_size + 11)


def wander(matcher: Matcher, tokenizer: ChatTokenizer, rng: random.Random) -> str:
    """Text of a random walk over what is allowed."""
    ids: list[int] = []
    while not matcher.complete and len(ids) < 400:
        allowed = matcher.allowed().nonzero()[:, 0].tolist()
        assert allowed
        assert max(allowed) < tokenizer.vocab_size
        ends = [t for t in allowed if t in tokenizer.stop_ids]
        token = ends[0] if ends and rng.random() < 0.5 else rng.choice(allowed)
        matcher.take(token)
        if token not in tokenizer.stop_ids:
            ids.append(token)
    return tokenizer.decode(ids)


def test_whatever_is_allowed_matches(guides: Guides, tokenizer: ChatTokenizer) -> None:
    rng = random.Random()
    pattern = r"(ab|c+)[0-9]{2,4}é?"
    choices = ['say "no"', "日本語", "a\nb", "abc", "ab"]
    for _ in range(20):
        text = wander(guides.matcher(Guide(GuideKind.REGEX, pattern)), tokenizer, rng)
        assert re.fullmatch(pattern, text) or len(text) > 300
        guide = Guide(GuideKind.CHOICE, json.dumps(choices))
        assert wander(guides.matcher(guide), tokenizer, rng) in choices


@pytest.mark.parametrize("choice", ["\x7f", 'a\x7f"\\u007f\\', "\x01\x85\u2028😀"])
def test_a_choice_of_odd_characters(guides: Guides, tokenizer: ChatTokenizer, choice: str) -> None:
    matcher = guides.matcher(Guide(GuideKind.CHOICE, json.dumps([choice])))
    assert wander(matcher, tokenizer, random.Random()) == choice


def test_json_of_a_schema(guides: Guides, tokenizer: ChatTokenizer) -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
        },
        "required": ["kind", "tags"],
        "additionalProperties": False,
    }
    for _ in range(10):
        matcher = guides.matcher(Guide(GuideKind.JSON_SCHEMA, json.dumps(schema)))
        made = json.loads(wander(matcher, tokenizer, random.Random()))
        assert made["kind"] in ("a", "b")
        assert all(isinstance(tag, bool) for tag in made["tags"])
        assert len(made["tags"]) <= 3


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (GuideKind.REGEX, "(a"),
        (GuideKind.CHOICE, "[]"),
        (GuideKind.CHOICE, '["a", ""]'),
        (GuideKind.CHOICE, "no json"),
        (GuideKind.CHOICE, "7"),
        (GuideKind.JSON_SCHEMA, "{"),
        (GuideKind.JSON_SCHEMA, '{"type": 7}'),
        (GuideKind.JSON_SCHEMA, '{"$ref": "#/nowhere"}'),
        (GuideKind.JSON_SCHEMA, '{"$ref": "#"}'),
    ],
)
def test_no_usable_guide(guides: Guides, kind: GuideKind, text: str) -> None:
    with pytest.raises(InvalidSampling, match=f"guide: no usable {kind.value}: ."):
        guides.matcher(Guide(kind, text))


def test_a_parsers_reason_is_said(guides: Guides) -> None:
    with pytest.raises(InvalidSampling, match="error: unclosed group"):
        guides.matcher(Guide(GuideKind.REGEX, "(a"))
    with pytest.raises(InvalidSampling, match="no text matches it"):
        guides.matcher(Guide(GuideKind.JSON_SCHEMA, '{"$ref": "#"}'))
