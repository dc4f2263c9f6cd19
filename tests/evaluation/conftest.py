"""Small real artifacts: a tokenizer, token stores, questions and random models."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusters.artifact import Artifact, ArtifactWriter
from contracts.manifest import Parent, fingerprint
from contracts.token_store import TokenStoreMeta

WORDS = "the a value array list returns sets given index file path of to and with for key".split()
NAMES = "open close read write merge split sort find count load save".split()


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(5, 9))).capitalize() + "."


def make_artifact(
    store: Path,
    kind: str,
    stage: str,
    write: Callable[[ArtifactWriter], Any],
    parents: list[Parent] | None = None,
    salt: str = "",
) -> Artifact:
    """Commit an artifact whose files ``write`` makes."""
    parents = parents or []
    config = {"salt": salt}
    wanted = fingerprint(stage, 1, config, parents)
    out = ArtifactWriter.begin(store, kind, wanted)
    stats = write(out) or {}
    return out.commit(
        kind=kind, stage=stage, version=1, fingerprint=wanted, config=config,
        parents=parents, external=[], stats=stats, seconds=1.5,
    )  # fmt: skip


def save_tokenizer(folder: Path) -> None:
    """A byte-level BPE with the chat template."""
    from corpus.tokenizer import save_tokenizer as save
    from corpus.tokenizer import train_tokenizer

    rng = random.Random(5)
    texts = [sentence(rng) for _ in range(200)]
    texts += [f"What does `{name}` do? Answer with the letter." for name in NAMES]
    texts += ["What is 1 + 2? calculator(expression): Work out an arithmetic expression."]
    texts += ['{"name": "calculator", "arguments": {"expression": "1 + 2"}}'] * 3
    save(train_tokenizer(texts, 600), folder, "chatml", 512)


def save_model(folder: Path, seed: int) -> None:
    """A random Llama of some hundred thousand parameters, with the tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    save_tokenizer(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)),
        hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        tie_word_embeddings=True, initializer_range=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def write_tokens(out: ArtifactWriter, tokenizer_folder: Path) -> None:
    """Token stores of two domains, uids below 1000 for train and from 1000 for validation."""
    from corpus.token_store.writer import ShardWriter, write_meta
    from corpus.tokenizer import end_of_text_id, load_backend

    tokenizer = load_backend(tokenizer_folder)
    size, eos = tokenizer.get_vocab_size(), end_of_text_id(tokenizer)
    rng = random.Random(7)
    for split, first_uid in (("train", 0), ("validation", 1000)):
        folder = f"tokens/{split}"
        shards = []
        for index, domain in enumerate(("docs", "docstrings")):
            files = [
                out.path(f"{folder}/shard-{index:05d}.{end}") for end in ("tok", "doc", "uid")
            ]
            writer = ShardWriter(f"shard-{index:05d}", domain, *files, size, eos)
            for number in range(30):
                text = " ".join(sentence(rng) for _ in range(rng.randint(1, 12)))
                writer.add(first_uid + index * 100 + number, tokenizer.encode(text).ids)
            shards.append(writer.close())
        meta = TokenStoreMeta(
            dtype="uint16", tokenizer_blake3="0" * 64, vocab_size=size, eos_id=eos, shards=shards
        )
        write_meta(out.path(f"{folder}/store.json"), meta)


def make_questions(count: int, seed: int, first_uid: int = 1000) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    rows = []
    for index in range(count):
        choices = [f"{sentence(rng)[:-1]} {index} {i}." for i in range(4)]
        question = f"What does `pkg{index}.{rng.choice(NAMES)}` do?"
        rows.append(
            {"id": f"q{index}", "uid": first_uid + index % 30, "question": question,
             "choices": choices, "answer": rng.randrange(4)}
        )  # fmt: skip
    return rows


def write_questions(out: ArtifactWriter, rows: list[dict[str, Any]]) -> None:
    lines = [json.dumps(row) + "\n" for row in rows]
    out.path("questions.jsonl").write_text("".join(lines))
    out.path("conversations.jsonl").write_text("")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def checkpoints(store: Path) -> list[Artifact]:
    """A base and a tuned model, random both."""

    def write(out: ArtifactWriter, seed: int) -> None:
        save_model(out.path("model/config.json").parent, seed)

    base = make_artifact(store, "checkpoint", "trainer.pretrain", lambda out: write(out, 1))
    parents = [base.parent("base")]
    tuned = make_artifact(
        store, "checkpoint", "trainer.sft", lambda out: write(out, 2), parents=parents
    )
    return [base, tuned]


@pytest.fixture(scope="session")
def model_dir(checkpoints: list[Artifact]) -> Path:
    return checkpoints[1].path("model")


@pytest.fixture(scope="session")
def tokens(store: Path, model_dir: Path) -> Artifact:
    return make_artifact(store, "tokens", "corpus.tokens", lambda o: write_tokens(o, model_dir))


@pytest.fixture(scope="session")
def questions(store: Path) -> Artifact:
    rows = make_questions(40, seed=3)
    return make_artifact(
        store, "questions", "corpus.questions", lambda o: write_questions(o, rows)
    )
