"""The token stores of a corpus: contents, and the same bytes however they were made."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from clusters.artifact import Artifact, ArtifactError
from clusters.execute import run_stage
from contracts.documents import document_uid
from contracts.manifest import hash_file
from corpus.errors import CorpusError
from corpus.stages import STAGES
from corpus.token_store import TokenStore
from corpus.tokenizer import TokenizerConfig, load_backend
from corpus.tokens import TokensConfig, shards_for

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
@pytest.mark.parametrize(("count", "parts"), [(90, 5), (700, 2), (300, 1)])
def test_every_document_is_there_once_in_its_split_and_domain(
    make_corpus: MakeCorpus, tmp_path: Path, count: int, parts: int
) -> None:
    rows = documents(count)
    corpus = make_corpus(rows, parts=parts)
    files = corpus.files("documents/")
    row_groups = [pq.read_metadata(path).num_row_groups for path in files]
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
        if split == "train":  # validation has too few documents for every shard to have one
            assert len(store.meta.shards) == 2 * min(3, sum(row_groups))
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


@pytest.mark.usefixtures("ray_session")
def test_a_selection_decides_documents_domains_and_weights(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    rows = [row | {"quality": random.random()} for row in documents(200)]
    corpus = make_corpus(rows, parts=4)
    select = BY_NAME["corpus.select"]
    config = select.config.model_validate(
        {
            "thresholds": {"quality": {"min": 0.5}},
            "mixture": {"weights": {"docs": 3, "docstrings": 1}, "max_repeats": None},
        }
    )
    selection = run_stage(select, config, {"corpus": [corpus]}, store=tmp_path)
    given = {"corpus": [corpus], "selection": [selection]}
    tokenizer = run_stage(
        BY_NAME["corpus.tokenizer"],
        TokenizerConfig(vocab_size=400, by="domain"),
        given,
        store=tmp_path,
    )
    assert set(tokenizer.manifest.stats["sample"]) == {"docs", "docstrings"}
    made = [
        run_stage(
            BY_NAME["corpus.tokens"],
            TokensConfig(shards=3, workers=workers),
            {**given, "tokenizer": [tokenizer]},
            store=tmp_path / str(workers),
        )
        for workers in (1, 2)
    ]
    assert made[0].manifest.digest == made[1].manifest.digest
    good = {document_uid(r["source"], r["id"]) for r in rows if np.float32(r["quality"]) >= 0.5}
    seen = []
    for split in ("train", "validation"):
        store = TokenStore.open(made[0].path(f"tokens/{split}"))
        assert store.meta.weights is not None
        assert set(store.meta.weights) == set(store.domains)
        if split == "train":
            assert store.meta.weights["docs"] == 3 * store.meta.weights["docstrings"]
        for index, shard in enumerate(store.meta.shards):
            seen += store.documents(index, 0, shard.tokens).uids.tolist()
    assert sorted(seen) == sorted(good)
    left = made[0].manifest.stats["left_out_by_selection"]
    assert left["documents"] == len(rows) - len(good)
    other = make_corpus(documents(20), parts=1)
    with pytest.raises(ArtifactError, match="selects from another corpus"):
        run_stage(
            BY_NAME["corpus.tokens"],
            TokensConfig(),
            {"corpus": [other], "selection": [selection], "tokenizer": [tokenizer]},
            store=tmp_path,
        )


@pytest.mark.usefixtures("ray_session")
def test_a_selected_domain_without_train_text_is_tokenised(
    make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    """One source is held out as a whole; of another a budget leaves the held-out part only."""
    rows = [row | {"quality": 0.9} for row in documents(40)]
    for name, split in (("held", "validation"), ("cut", "validation"), ("cut", "train")):
        rows += [
            {"id": f"{split}{i}", "source": name, "text": "7 " * 40, "split": split, "quality": 0.1}
            for i in range(3)
        ]
    corpus = make_corpus(rows)
    size = sum(len(r["text"]) for r in rows if r["quality"] > 0.5 and r["split"] == "train")
    select = BY_NAME["corpus.select"]
    config = select.config.model_validate(
        {"thresholds": {}, "budget": {"bytes": size, "by": "quality"}}
    )
    selection = run_stage(select, config, {"corpus": [corpus]}, store=tmp_path)
    tokenizer = tokenizer_of(corpus, tmp_path)
    inputs = {"corpus": [corpus], "selection": [selection], "tokenizer": [tokenizer]}
    made = run_stage(BY_NAME["corpus.tokens"], TokensConfig(), inputs, store=tmp_path)
    good = {"docs", "docstrings"}
    train = TokenStore.open(made.path("tokens/train"))
    validation = TokenStore.open(made.path("tokens/validation"))
    assert set(train.domains) == good
    assert set(validation.domains) == {"cut", "held"} | {
        r["source"] for r in rows if r["source"] in good and r["split"] == "validation"
    }
    held = made.manifest.stats["splits"]["validation"]["domains"]
    assert (held["held"]["documents"], held["cut"]["documents"]) == (3, 3)
    assert validation.verify() == []
    assert set(validation.meta.weights or {}) <= good


@pytest.mark.parametrize(("megabytes", "shards"), [((1,), 4), ((511, 1), 4), ((512, 512, 1), 9)])
def test_large_corpora_have_more_shards(
    tmp_path: Path, megabytes: tuple[int, ...], shards: int
) -> None:
    parts = [tmp_path / f"part-{number}" for number in range(len(megabytes))]
    for part, size in zip(parts, megabytes, strict=True):
        with part.open("wb") as file:
            file.truncate(size << 20)
    assert shards_for(parts) == shards
