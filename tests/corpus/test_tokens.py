"""The token stores of a corpus: contents, and the same bytes however they were made."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.artifact import Artifact
from clusters.execute import run_stage
from contracts.documents import document_uid
from contracts.manifest import hash_file
from corpus.errors import CorpusError
from corpus.stages import STAGES
from corpus.token_store import TokenStore
from corpus.tokenizer import TokenizerConfig, load_backend
from corpus.tokens import TokensConfig

BY_NAME = {stage.name: stage for stage in STAGES}
MakeCorpus = Callable[..., Artifact]


def documents(count: int = 90) -> list[dict]:
    rng = random.Random()
    return [
        {
            "id": f"d{i}",
            "source": rng.choice(["docs", "docstrings"]),
            "text": " ".join(str(rng.randrange(999)) for _ in range(rng.randrange(5, 90))),
            "split": "validation" if i % 9 == 0 else "train",
        }
        for i in range(count)
    ]


def tokenizer_of(corpus: Artifact, store: Path) -> Artifact:
    config = TokenizerConfig(vocab_size=400)
    return run_stage(BY_NAME["corpus.tokenizer"], config, {"corpus": [corpus]}, store=store)


def tokens_of(corpus: Artifact, tokenizer: Artifact, store: Path, **config: int) -> Artifact:
    inputs = {"corpus": [corpus], "tokenizer": [tokenizer]}
    return run_stage(BY_NAME["corpus.tokens"], TokensConfig(**config), inputs, store=store)


@pytest.mark.usefixtures("ray_session")
def test_every_document_is_there_once_in_its_split_and_domain(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    rows = documents()
    corpus = make_corpus(rows, parts=5)
    tokenizer = tokenizer_of(corpus, tmp_path)
    artifact = tokens_of(corpus, tokenizer, tmp_path, shards=3)
    folder = tokenizer.path("tokenizer")
    backend = load_backend(folder)
    expected = {document_uid(row["source"], row["id"]): row for row in rows}
    seen = set()
    for split in ("train", "validation"):
        store = TokenStore.open(
            artifact.path(f"tokens/{split}"), hash_file(folder / "tokenizer.json")[1]
        )
        assert store.verify() == []
        for index, shard in enumerate(store.meta.shards):
            whole = store.window(index, 0, shard.tokens)
            inside = store.documents(index, 0, shard.tokens)
            for uid, start, end in zip(
                inside.uids.tolist(), inside.cu_seqlens, inside.cu_seqlens[1:], strict=False
            ):
                assert uid not in seen
                seen.add(uid)
                row = expected[uid]
                assert (row["split"], row["source"]) == (split, shard.domain)
                assert backend.decode(whole[start : end - 1].tolist()) == row["text"]
                assert whole[end - 1] == store.meta.eos_id
        stats = artifact.manifest.stats["splits"][split]
        assert stats["tokens"] == store.num_tokens
        assert {d: s["tokens"] for d, s in stats["domains"].items()} == store.domain_tokens()
    assert seen == set(expected)


@pytest.mark.usefixtures("ray_session")
def test_one_worker_or_two_give_the_same_digest(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus(documents(), parts=4)
    tokenizer = tokenizer_of(corpus, tmp_path)
    one = tokens_of(corpus, tokenizer, tmp_path / "one", shards=4, workers=1)
    two = tokens_of(corpus, tokenizer, tmp_path / "two", shards=4, workers=2)
    assert one.manifest.digest == two.manifest.digest
    assert one.manifest.fingerprint == two.manifest.fingerprint


@pytest.mark.usefixtures("ray_session")
def test_a_corpus_without_validation_documents_gives_an_empty_store(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    corpus = make_corpus([row | {"split": "train"} for row in documents(20)])
    artifact = tokens_of(corpus, tokenizer_of(corpus, tmp_path), tmp_path)
    store = TokenStore.open(artifact.path("tokens/validation"))
    assert (store.meta.shards, store.num_tokens, store.domains) == ([], 0, [])
    assert store.verify() == []
    stats = artifact.manifest.stats
    nothing = {"documents": 0, "bytes": 0, "tokens": 0, "domains": {}}
    assert stats["splits"]["validation"] == nothing
    assert stats["in"]["documents"] == 20
    assert stats["out"]["validation_tokens"] == 0


@pytest.mark.usefixtures("ray_session")
def test_a_corpus_without_train_documents_is_an_error(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    tokenizer = tokenizer_of(make_corpus(documents()), tmp_path)
    row = {"id": "v", "source": "docs", "text": "validation", "split": "validation"}
    with pytest.raises(CorpusError, match="no train documents"):
        tokens_of(make_corpus([row], parts=1), tokenizer, tmp_path)
