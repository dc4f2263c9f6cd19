"""Builds the artifacts that training stages read, through real stages in miniature."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.artifact import Artifact
from clusters.config import StageConfig
from clusters.execute import run_stage
from clusters.stage import Stage, StageContext
from contracts.manifest import hash_file

VOCABULARY = 400
WORDS = [
    "array", "of", "the", "returns", "value", "shape", "index", "a", "list", "given", "axis",
    "sum", "mean", "over", "is", "and", "default", "none", "raises", "error", "number", "file",
]  # fmt: skip
TINY_MODEL = {
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 2,
    "num_kv_heads": 1,
    "mlp_size": 48,
    "max_positions": 256,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Evaluate arithmetic.",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
    },
}


class NoConfig(StageConfig):
    """Nothing to set."""


@dataclass(frozen=True)
class Inputs:
    tokenizer: Artifact
    tokens: Artifact
    conversations: Artifact


def sentences(seed: int, count: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(5, 60))) + "." for _ in range(count)]


def conversation(index: int, a: int, b: int) -> dict[str, Any]:
    arguments = json.dumps({"expression": f"{a} + {b}"})
    call = {"id": "c", "function": {"name": "calculator", "arguments": arguments}}
    return {
        "id": f"sum/{index}",
        "source": "arithmetic",
        "tools": [TOOL],
        "messages": [
            {"role": "user", "content": f"What is {a} + {b}?"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "content": str(a + b), "tool_call_id": "c"},
            {"role": "assistant", "content": f"{a + b}"},
        ],
    }


def make_inputs(store: Path, seed: int = 3) -> Inputs:
    def make_tokenizer(context: StageContext) -> dict[str, Any]:
        from corpus.tokenizer import save_tokenizer, train_tokenizer

        trained = train_tokenizer(sentences(seed, 300), VOCABULARY)
        folder = context.out.path("tokenizer/tokenizer.json").parent
        save_tokenizer(trained, folder, "chatml", 256)
        return {}

    tokenizer = _make(store, "tokenizer", make_tokenizer)

    def make_tokens(context: StageContext) -> dict[str, Any]:
        for split, first, count in (("train", seed, 400), ("validation", 99, 60)):
            root = context.out.path(f"tokens/{split}/store.json").parent
            texts = {
                domain: list(enumerate(sentences(first + len(domain), count)))
                for domain in ("docs", "docstrings")
            }
            write_store(root, tokenizer, texts)
        return {}

    def make_conversations(context: StageContext) -> dict[str, Any]:
        chance = random.Random(seed)
        lines = [
            json.dumps(conversation(i, chance.randrange(100), chance.randrange(100))) + "\n"
            for i in range(60)
        ]
        context.out.path("conversations.jsonl").write_text("".join(lines))
        return {}

    tokens = _make(store, "tokens", make_tokens)
    return Inputs(tokenizer, tokens, _make(store, "conversations", make_conversations))


def write_store(
    root: Path, tokenizer: Artifact, documents: dict[str, list[tuple[int, str]]]
) -> None:
    """A token store of ``documents``: (uid, text) by domain."""
    from corpus.token_store import TokenStoreWriter
    from corpus.tokenizer import end_of_text_id, load_backend

    folder = tokenizer.path("tokenizer")
    backend = load_backend(folder)
    with TokenStoreWriter(
        root,
        tokenizer_blake3=hash_file(folder / "tokenizer.json")[1],
        vocab_size=backend.get_vocab_size(),
        eos_id=end_of_text_id(backend),
    ) as writer:
        for domain, texts in documents.items():
            writer.start_shard(domain)
            for uid, text in texts:
                writer.add(uid, backend.encode(text).ids)


def run_pretrain(inputs: Inputs, store: Path, *, workers: int, **changes: Any) -> Artifact:
    from trainer.stages import STAGES

    stage = next(s for s in STAGES if s.name == "trainer.pretrain")
    config = stage.config.model_validate(pretrain_config(workers, **changes))
    given = {"tokens": [inputs.tokens], "tokenizer": [inputs.tokenizer]}
    return run_stage(stage, config, given, store=store, seed=11)


def run_sft(
    base: Artifact,
    conversations: Artifact,
    store: Path,
    *,
    workers: int,
    replay: Artifact | None = None,
    **changes: Any,
) -> Artifact:
    from trainer.stages import STAGES

    stage = next(s for s in STAGES if s.name == "trainer.sft")
    config = stage.config.model_validate(sft_config(workers, **changes))
    given = {"base": [base], "conversations": [conversations]}
    if replay is not None:
        given["replay"] = [replay]
    return run_stage(stage, config, given, store=store, seed=11)


def pretrain_config(workers: int, **changes: Any) -> dict[str, Any]:
    return {
        "model": TINY_MODEL,
        "sequence_length": 48,
        "steps": 8,
        "batch": 5,
        "validation_rows": 3,
        "validation_every": 4,
        "checkpoint_every": 2,
        "optimiser": {"lr": 3e-3, "warmup_steps": 2},
        "parallel": {"workers": workers, "micro_batch": 2},
        **changes,
    }


def sft_config(workers: int, **changes: Any) -> dict[str, Any]:
    return {
        "row_length": 256,
        "epochs": 2,
        "batch": 5,
        "validation_share": 0.1,
        "validation_every": 4,
        "checkpoint_every": 2,
        "optimiser": {"lr": 3e-3, "warmup_steps": 2},
        "parallel": {"workers": workers, "micro_batch": 2},
        **changes,
    }


def _make(store: Path, kind: str, run: Any) -> Artifact:
    stage = Stage(name=f"trainer.test-{kind}", config=NoConfig, output=kind, run=run)
    return run_stage(stage, NoConfig(), store=store)
