"""A small Llama that the project's own trainer trains on English prose, for quality benchmarks.

python -m benchmarks.serving.trained FOLDER

INKSTONE_DATA names the folder with ``corpus/en_prose.jsonl.zst``; a quarter of it is built,
tokenised and trained on (13.4 million parameters, 2 million tokens, about 12 minutes of one
core). FOLDER is a run like any other: killed, it goes on; complete, nothing runs again.
"""

import argparse
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
import zstandard

EVERY = 4
"""One document of so many is kept."""
PRETRAIN: dict[str, Any] = {
    "model": {
        "hidden_size": 384,
        "num_layers": 6,
        "num_heads": 6,
        "num_kv_heads": 3,
        "mlp_size": 1024,
        "max_positions": 512,
    },
    "sequence_length": 512,
    "batch": 8,
    "steps": 500,
    "optimiser": {"lr": 2.0e-3, "schedule": "wsd", "warmup_steps": 50, "decay_share": 0.2},
    "parallel": {"workers": 1, "threads": 1, "micro_batch": 8},
}


@dataclass(frozen=True)
class Trained:
    """What a quality benchmark needs."""

    model: Path
    """Model directory, bf16."""
    tokens: Path
    """Token stores: ``train`` and ``validation``."""


def trained(folder: Path) -> Trained:
    """Make the model in ``folder``, or find it there.

    Raises:
        SystemExit: the data is missing, or the run failed.
    """
    made = Trained(folder / "runs/trained/pretrain/model", folder / "runs/trained/tokens/tokens")
    if not (made.model / "config.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _write_prose(folder / "prose.jsonl")
        recipe = folder / "trained.yaml"
        recipe.write_text(yaml.safe_dump(_recipe(folder), sort_keys=False))
        command = [sys.executable, "-m", "inkstone", "run", str(recipe)]
        if subprocess.run(command).returncode:
            sys.exit(f"{recipe}: the run failed; see above")
    return made


def _write_prose(path: Path) -> None:
    data = os.environ.get("INKSTONE_DATA") or sys.exit("INKSTONE_DATA names no folder")
    whole = Path(data) / "corpus" / "en_prose.jsonl.zst"
    with open(whole, "rb") as raw, open(path, "w", encoding="utf-8") as out:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), "utf-8")
        for number, line in enumerate(lines):
            if number % EVERY == 0:
                out.write(json.dumps(json.loads(line)) + "\n")


def _recipe(folder: Path) -> dict[str, Any]:
    source = {"path": str(folder.absolute() / "prose.jsonl"), "format": "jsonl", "source": "prose"}
    return {
        "name": "trained",
        "seed": 1,
        "store": str(folder.absolute() / "store"),
        "runs": str(folder.absolute() / "runs"),
        "stages": {
            "corpus": {"stage": "corpus.build", "config": {"sources": [source]}},
            "selection": {"stage": "corpus.select", "inputs": {"corpus": "corpus"}},
            "tokenizer": {
                "stage": "corpus.tokenizer",
                "inputs": {"corpus": "corpus", "selection": "selection"},
                "config": {"vocab_size": 8192},
            },
            "tokens": {
                "stage": "corpus.tokens",
                "inputs": {"corpus": "corpus", "tokenizer": "tokenizer", "selection": "selection"},
            },
            "pretrain": {
                "stage": "trainer.pretrain",
                "inputs": {"tokens": "tokens", "tokenizer": "tokenizer"},
                "config": PRETRAIN,
            },
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print(trained(parser.parse_args().folder))


if __name__ == "__main__":
    main()
