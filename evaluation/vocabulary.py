"""How many bytes of text each token stands for."""

import json
from pathlib import Path

import numpy as np


def token_bytes(tokenizer_json: Path) -> np.ndarray | None:
    """Bytes of each token of a byte-level vocabulary, shape (vocabulary,), i64.

    A byte-level BPE spells each byte as one character, so a token's length in characters
    is its length in bytes; special tokens stand for no text and count 0. None where the
    tokenizer is not byte-level, as its lengths would be guesses.
    """
    spec = json.loads(tokenizer_json.read_text(encoding="utf-8"))
    if (spec.get("decoder") or {}).get("type") != "ByteLevel":
        return None
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    added = {item["content"]: item["id"] for item in spec.get("added_tokens", [])}
    sizes = np.zeros(max([*vocabulary.values(), *added.values()]) + 1, dtype=np.int64)
    for token, index in vocabulary.items():
        sizes[index] = len(token)
    for index in added.values():
        sizes[index] = 0
    return sizes
