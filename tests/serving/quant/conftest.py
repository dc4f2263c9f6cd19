"""Models with a few loud channels, as trained ones have, and text they were made for."""

import json
import random
from pathlib import Path

import pytest
import torch

from clusters.artifact import Artifact
from clusters.config import StageConfig
from clusters.execute import run_stage
from clusters.stage import Stage, StageContext
from contracts.manifest import hash_file
from contracts.token_store import STORE_NAME, Shard, TokenStoreMeta
from tests.serving.conftest import TEXT, make_model


def make_loud(path: Path, **overrides: int) -> Path:
    """A tiny model in which a few inputs of every layer are twenty times the others."""
    from safetensors.torch import load_file, save_file

    make_model(path, seed=3, dtype="bfloat16", **{"num_hidden_layers": 2, **overrides})
    weights = load_file(path / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name, tensor in weights.items():
        if "layernorm" in name:
            tensor[torch.randperm(len(tensor), generator=generator)[:4]] *= 20
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


@pytest.fixture(scope="session")
def loud_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_loud(tmp_path_factory.mktemp("loud"))


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("text") / "prose.txt"
    words = " ".join(TEXT).split()
    path.write_text(" ".join(rng.choice(words) for _ in range(6000)))
    return path


def as_tokens(model: Path, store: Path, count: int, highest: int | None = None) -> Artifact:
    """A token store of random ids below the vocabulary, as an artifact of kind ``tokens``."""
    vocab = json.loads((model / "config.json").read_text())["vocab_size"]
    ids = torch.randint(0, highest or vocab, (count,), generator=torch.Generator().manual_seed(1))

    def run(context: StageContext) -> dict[str, object]:
        for split in ("train", "validation"):
            meta = TokenStoreMeta(
                dtype="uint16",
                tokenizer_blake3=hash_file(model / "tokenizer.json")[1],
                vocab_size=vocab,
                eos_id=0,
                shards=[Shard(name="shard-0", domain="x", tokens=count, docs=1, blake3="")],
            )
            path = context.out.path(f"tokens/{split}/{STORE_NAME}")
            path.write_text(meta.model_dump_json())
            raw = ids.numpy().astype("<u2").tobytes()
            context.out.path(f"tokens/{split}/shard-0.tok").write_bytes(raw)
        return {}

    stage = Stage(name="corpus.fake", config=StageConfig, output="tokens", run=run)
    return run_stage(stage, StageConfig(), store=store)
