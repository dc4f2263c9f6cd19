"""What ``store.json`` says of a token store.

A store is a directory: ``shard-N.tok`` (raw little-endian u16 or u32 token ids),
``shard-N.doc`` (u64 end offsets of documents, in tokens), ``shard-N.uid`` (u64 uids,
one per document) and ``store.json``.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

STORE_NAME = "store.json"
_CODES = {"uint16": "u2", "uint32": "u4"}


class Shard(BaseModel):
    """One shard of a token store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Stem of its files, e.g. ``shard-00000``."""
    domain: str
    tokens: int
    docs: int
    blake3: str
    """Of the ``.tok`` file."""


class TokenStoreMeta(BaseModel):
    """Contents of ``store.json``."""

    model_config = ConfigDict(extra="forbid")

    dtype: Literal["uint16", "uint32"]
    tokenizer_blake3: str
    """Of ``tokenizer.json``; a reader refuses another tokenizer."""
    vocab_size: int
    eos_id: int
    """Written after every document."""
    weights: dict[str, int] | None = None
    """Domain -> weight in the mixture, where whoever chose the documents set one; a reader
    without a schedule of its own takes these."""
    shards: list[Shard] = Field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        """Tokens in all shards."""
        return sum(shard.tokens for shard in self.shards)


def shard_tokens(root: Path, meta: TokenStoreMeta, shard: Shard) -> np.ndarray:
    """Token ids of a shard as a read-only memory map, shape (tokens,), u16 or u32."""
    return np.memmap(root / f"{shard.name}.tok", dtype=f"<{_CODES[meta.dtype]}", mode="r")


def shard_ends(root: Path, shard: Shard) -> np.ndarray:
    """End offset of every document of a shard, in tokens, shape (docs,), u64."""
    return np.memmap(root / f"{shard.name}.doc", dtype="<u8", mode="r")


def shard_uids(root: Path, shard: Shard) -> np.ndarray:
    """Uid of every document of a shard, shape (docs,), u64."""
    return np.memmap(root / f"{shard.name}.uid", dtype="<u8", mode="r")
