"""``inkstone corpus export``: what is written is what the artifact holds."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard
from typer.testing import CliRunner

from clusters.artifact import Artifact, ArtifactError
from clusters.execute import run_stage
from corpus.cli import app
from corpus.stages import STAGES
from corpus.tokenizer import TokenizerConfig
from corpus.tokens import TokensConfig
from tests.corpus.token_store.test_megatron import read_documents

BY_NAME = {stage.name: stage for stage in STAGES}
MakeCorpus = Callable[..., Artifact]


@pytest.fixture
def corpus(make_corpus: MakeCorpus) -> Artifact:
    return make_corpus(
        [
            {
                "id": str(i),
                "source": "ab"[i % 2],
                "text": f"Text {i} 中 " * (i + 1),
                "split": "validation" if i % 5 == 0 else "train",
            }
            for i in range(40)
        ]
    )


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def rows_of(corpus: Artifact) -> list[dict]:
    return [row for p in corpus.files("documents/") for row in pq.read_table(p).to_pylist()]


def test_jsonl(corpus: Artifact, tmp_path: Path) -> None:
    said = json.loads(
        call("export", corpus.directory, tmp_path / "out", "--format", "jsonl", "--json")
    )
    assert said == {"documents": 40, "files": 3}
    found = []
    for path in sorted((tmp_path / "out").iterdir()):
        raw = zstandard.ZstdDecompressor().stream_reader(path.read_bytes())
        found += [json.loads(line) for line in io.TextIOWrapper(raw, encoding="utf-8")]
    for row, expected in zip(found, rows_of(corpus), strict=True):
        assert row["text"] == expected["text"]
        assert row["uid"] == expected["uid"]


def test_parquet_of_one_split(corpus: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call("export", corpus.directory, out, "--format", "parquet", "--split", "validation")
    found = [row for p in sorted(out.iterdir()) for row in pq.read_table(p).to_pylist()]
    expected = [row for row in rows_of(corpus) if row["split"] == "validation"]
    assert sorted(row["uid"] for row in found) == sorted(row["uid"] for row in expected)
    by_uid = {row["uid"]: row for row in expected}
    assert all(row == by_uid[row["uid"]] for row in found)


@pytest.mark.usefixtures("ray_session")
def test_megatron(corpus: Artifact, tmp_path: Path) -> None:
    config = TokenizerConfig(vocab_size=400)
    tokenizer = run_stage(BY_NAME["corpus.tokenizer"], config, {"corpus": [corpus]}, store=tmp_path)
    inputs = {"corpus": [corpus], "tokenizer": [tokenizer]}
    tokens = run_stage(BY_NAME["corpus.tokens"], TokensConfig(shards=2), inputs, store=tmp_path)
    said = json.loads(
        call("export", tokens.directory, tmp_path / "out", "--format", "megatron", "--json")
    )
    assert sorted(said) == ["train", "validation"]
    for part in said.values():
        documents = [d for prefix in part["prefixes"] for d in read_documents(Path(prefix))]
        assert sum(map(len, documents)) == part["tokens"]


def test_what_cannot_be_exported_is_named(corpus: Artifact, tmp_path: Path) -> None:
    for arguments, message in (
        (["--format", "megatron"], "format megatron is made from 'tokens'"),
        (["--format", "jsonl", "--split", "test"], "the splits are train, validation"),
    ):
        with pytest.raises(ArtifactError, match=message):
            call("export", corpus.directory, tmp_path / "out", *arguments)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ArtifactError, match="not empty"):
        call("export", corpus.directory, tmp_path / "full", "--format", "jsonl")
