"""Training the tokenizer, and what plain transformers makes of it."""

import random
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, GenerationConfig

from clusters.artifact import Artifact
from clusters.execute import run_stage
from contracts.conversation import chat_template
from corpus.documents import read_texts, sample_documents
from corpus.errors import CorpusError
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
    secret = "zyxzyx" * 50
    train = documents(random_texts())
    corpus = make_corpus([*train, *documents([secret] * 20, "validation")])
    artifact = run_stage(
        STAGE, TokenizerConfig(vocab_size=700), {"corpus": [corpus]}, store=tmp_path / "store"
    )
    backend = load_backend(artifact.path("tokenizer"))
    assert len(backend.encode("zyxzyx").ids) >= 4
    assert artifact.manifest.stats["in"]["documents"] == len(train)
    assert artifact.manifest.stats["out"]["vocabulary"] == backend.get_vocab_size() <= 700
    assert artifact.manifest.stats["validation_bytes_per_token"] > 0


def test_the_sample_is_bounded_and_ignores_how_parts_are_cut(make_corpus: MakeCorpus) -> None:
    rows = documents(random_texts(200))
    one, many = make_corpus(rows, parts=1), make_corpus(rows, parts=7)
    samples = [sample_documents(c.files("documents/"), "train", 9000, seed=4) for c in (one, many)]
    assert samples[0] == samples[1]
    largest = max(len(row["text"]) for row in rows)
    assert 9000 <= samples[0].bytes < 9000 + largest
    texts = list(read_texts(one.files("documents/"), samples[0].uids))
    assert sum(map(len, texts)) == samples[0].bytes
    other = sample_documents(one.files("documents/"), "train", 9000, seed=5)
    assert other.uids != samples[0].uids


def test_a_corpus_without_train_documents_is_an_error(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    corpus = make_corpus(documents(["only validation"], "validation"))
    with pytest.raises(CorpusError, match="no train documents"):
        run_stage(STAGE, TokenizerConfig(), {"corpus": [corpus]}, store=tmp_path / "store")
