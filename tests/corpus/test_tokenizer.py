"""Training the tokenizer, and what plain transformers makes of it."""

import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import AutoTokenizer, GenerationConfig

from clusters.artifact import Artifact
from clusters.execute import run_stage
from contracts.conversation import chat_template
from corpus.errors import CorpusError
from corpus.pieces import Pattern, pieces
from corpus.stages import STAGES
from corpus.tokenizer import TokenizerConfig, load_backend, save_tokenizer, train_tokenizer

STAGE = next(stage for stage in STAGES if stage.name == "corpus.tokenizer")
MakeCorpus = Callable[..., Artifact]


def random_texts(count: int = 60) -> list[str]:
    rng = random.Random()
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randrange(2, 9))) for _ in range(80)]
    return [" ".join(rng.choices(words, k=rng.randrange(20, 120))) + "." for _ in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(train_tokenizer(random_texts(), 600), folder, "chatml", 512)
    return folder


def test_training_again_in_another_order_gives_the_same_files(tmp_path: Path) -> None:
    texts = random_texts()
    for name in ("a", "b"):
        save_tokenizer(train_tokenizer(texts, 700), tmp_path / name, "chatml", 512)
        random.shuffle(texts)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "tokenizer.json" in names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@given(text=st.text())
def test_any_text_comes_back_exactly(folder: Path, text: str) -> None:
    backend = load_backend(folder)
    assert backend.decode(backend.encode(text).ids, skip_special_tokens=False) == text


def test_merges_save_tokens(folder: Path) -> None:
    backend = load_backend(folder)
    text = random_texts(1)[0]
    learnt = train_tokenizer([text] * 3, 600)
    assert len(learnt.encode(text).ids) < len(text) / 3
    assert max(backend.encode(text).ids) < backend.get_vocab_size()


def test_digits_stand_alone(folder: Path) -> None:
    backend = load_backend(folder)
    ids = {d: backend.encode(d).ids for d in "0123456789"}
    assert all(len(one) == 1 for one in ids.values())
    number = str(random.randrange(10**9, 10**10))
    assert backend.encode(number).ids == [ids[d][0] for d in number]


def test_special_tokens_and_stops(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.bos_token is None
    assert tokenizer.model_max_length == 512
    assert tokenizer.chat_template == chat_template("chatml")
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert GenerationConfig.from_pretrained(folder).eos_token_id == ends
    call = tokenizer.encode("<|im_start|>x<tool_call>{}</tool_call><|im_end|>")
    assert tokenizer.decode(call, skip_special_tokens=True) == "x<tool_call>{}</tool_call>"


def test_special_tokens_spelled_in_raw_text_stay_text(folder: Path) -> None:
    backend = load_backend(folder)
    text = "a <|endoftext|> b <|im_end|> <tool_call>"
    special = {backend.token_to_id(t) for t in ("<|endoftext|>", "<|im_end|>", "<tool_call>")}
    ids = backend.encode(text).ids
    assert not special & set(ids)
    assert backend.decode(ids) == text


def documents(texts: list[str], split: str = "train") -> list[dict]:
    return [
        {"id": f"{split}-{i}", "source": "web", "text": text, "split": split}
        for i, text in enumerate(texts)
    ]


def test_the_stage_learns_from_train_documents_only(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    secret = "ZYXZYX" * 50  # no train document has a capital: nothing of it can be merged
    train = documents(random_texts())
    corpus = make_corpus([*train, *documents([secret] * 20, "validation")])
    artifact = run_stage(
        STAGE, TokenizerConfig(vocab_size=700), {"corpus": [corpus]}, store=tmp_path / "store"
    )
    backend = load_backend(artifact.path("tokenizer"))
    assert len(backend.encode("ZYXZYX").ids) == 6
    assert artifact.manifest.stats["in"]["documents"] == len(train)
    assert artifact.manifest.stats["out"]["vocabulary"] == backend.get_vocab_size() <= 700
    assert artifact.manifest.stats["validation_bytes_per_token"] > 0


def test_a_corpus_without_train_documents_is_an_error(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    corpus = make_corpus(documents(["only validation"], "validation"))
    with pytest.raises(CorpusError, match="no train documents"):
        run_stage(STAGE, TokenizerConfig(), {"corpus": [corpus]}, store=tmp_path / "store")


MIXED = [
    "The year 2023年中国的GDP是多少？ It's 12,345 元。",
    "def f(x):\n\tif x > 10:\n        return {'a': [1, 2]}\r\n",
    "漢字かな交じり文、カタカナー。 नमस्ते दुनिया สวัสดี 🙂🙃 e\u0301",
]


@pytest.mark.parametrize("pattern", ["multilingual", "gpt4", "gpt2"])
@pytest.mark.parametrize("digits", [1, 3])
def test_every_pattern_keeps_every_text(pattern: Pattern, digits: int) -> None:
    backend = train_tokenizer(MIXED * 20, 500, pattern=pattern, digits=digits)

    @given(text=st.text() | st.text("a1 中ー。\n\t'é\u0301न", max_size=40))
    def exact(text: str) -> None:
        assert backend.decode(backend.encode(text).ids, skip_special_tokens=False) == text

    exact()
    for text in MIXED:
        assert backend.decode(backend.encode(text).ids) == text
    longest = max(len(token) for token in backend.get_vocab() if token.isdecimal())
    assert longest <= digits


def test_chinese_is_never_merged_with_what_stands_beside_it() -> None:
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(pieces("multilingual", 1)), behavior="isolated")
    text = "看GPT模型(很好)，是 吗it's नमस्ते カーナビ12"
    found = [piece for piece, _ in split.pre_tokenize_str(text)]
    assert found == [
        "看", "GPT", "模型", "(", "很好", ")，", "是", " ", "吗", "it", "'s", " नमस्ते",
        " ", "カーナビ", "1", "2",
    ]  # fmt: skip


def mixed_corpus(rng: random.Random) -> list[dict]:
    """Much English and a little Chinese, both with words that repeat."""
    hanzi = [chr(c) for c in range(0x4E00, 0x4E00 + 300)]
    words = ["".join(rng.choices(hanzi, k=rng.choice([1, 2, 3]))) for _ in range(60)]
    chinese = ["".join(rng.choices(words, k=60)) + "。" for _ in range(40)]
    split = ["validation" if i % 10 == 0 else "train" for i in range(600)]
    return [
        {"id": f"e{i}", "source": "web", "lang": "en", "text": t, "split": split[i]}
        for i, t in enumerate(random_texts(600))
    ] + [
        {"id": f"z{i}", "source": "web", "lang": "zh", "text": t, "split": split[i]}
        for i, t in enumerate(chinese)
    ]


def test_shares_feed_a_small_language(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus(mixed_corpus(random.Random()))
    config = {"vocab_size": 900, "sample_bytes": 20_000, "min_frequency": 2}

    def languages(**more: Any) -> tuple[dict, dict]:
        made = run_stage(
            STAGE,
            TokenizerConfig.model_validate(config | more),
            {"corpus": [corpus]},
            store=tmp_path / "store",
        )
        return made.manifest.stats["languages"], made.manifest.stats["sample"]

    as_is, _ = languages(smoothing=1.0)
    fed, sample = languages(shares={"en": 1, "zh": 1})
    assert set(as_is) == set(fed) == {"en", "zh"}
    assert fed["zh"] > as_is["zh"]
    assert sample["zh"]["bytes"] >= 5000
    none, sample = languages(shares={"en": 1})
    assert set(sample) == {"en"}
    assert none["zh"] < as_is["zh"]


def test_wrong_shares_are_named(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"shares\.en: 0.0 must be above 0"):
        TokenizerConfig(shares={"en": 0})
    corpus = make_corpus(documents(["text"]))
    for config, message in (
        ({"shares": {"xx": 1}}, "shares name xx"),
        ({"by": "domain"}, "needs the input selection"),
    ):
        with pytest.raises(CorpusError, match=message):
            run_stage(
                STAGE,
                TokenizerConfig.model_validate(config),
                {"corpus": [corpus]},
                store=tmp_path / "store",
            )
