r"""Exports a token store as Megatron-Core's indexed datasets, one ``.bin``/``.idx`` per domain.

The format is that of ``megatron.core.datasets.indexed_dataset`` (Megatron-Core 0.16, all
numbers little-endian): ``.bin`` holds the tokens of all sequences; ``.idx`` holds the nine bytes
``MMIDIDX\0\0``, u64 version 1, u8 code of the type, u64 number of sequences, u64 length of the
document index, then i32 tokens of each sequence, i64 byte offset of each in ``.bin``, and the
i64 document index: 0, then the number of sequences before each document's end. Every document
is one sequence here, its end-of-text token included.
"""

import re
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from contracts.token_store import Shard, shard_ends, shard_tokens
from corpus.token_store.reader import TokenStore
from corpus.token_store.sampler import proportional_weights

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
CODES = {"uint16": (8, "<u2"), "uint32": (4, "<i4")}
"""Store's type -> Megatron's code and type. It has no u32; ids below 2^31 are the same in i32."""
BLEND = "blend.txt"
_CHUNK = 1 << 22


def export(store: TokenStore, folder: Path) -> dict[str, Path]:
    """Write every domain to ``folder``; domain -> path without ending.

    ``blend.txt`` holds what ``--data-path`` takes: a weight and a path per domain. Weights are
    the store's own, else in proportion to tokens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = _file_names(store.domains)
    prefixes = {domain: folder / names[domain] for domain in store.domains}
    for domain, prefix in prefixes.items():
        _export_domain(store, domain, prefix)
    weights = store.meta.weights or proportional_weights(store.domain_tokens())
    lines = [f"{weights.get(d, 0)} {prefix.absolute()}\n" for d, prefix in prefixes.items()]
    (folder / BLEND).write_text("".join(lines), encoding="utf-8")
    return prefixes


def _export_domain(store: TokenStore, domain: str, prefix: Path) -> None:
    code, dtype = CODES[store.meta.dtype]
    shards = [shard for shard in store.meta.shards if shard.domain == domain]
    with open(prefix.with_name(prefix.name + ".bin"), "wb") as tokens:
        for shard in shards:
            view = shard_tokens(store.root, store.meta, shard)
            for start in range(0, len(view), _CHUNK):
                tokens.write(view[start : start + _CHUNK].astype(dtype, copy=False).tobytes())
    sequences = sum(shard.docs for shard in shards)
    with open(prefix.with_name(prefix.name + ".idx"), "wb") as index:
        index.write(MAGIC + struct.pack("<QBQQ", VERSION, code, sequences, sequences + 1))
        for shard in shards:
            index.write(_lengths(store, shard).astype("<i4").tobytes())
        _write_offsets(index, store, shards, np.dtype(dtype).itemsize)
        for start in range(0, sequences + 1, _CHUNK):
            end = min(start + _CHUNK, sequences + 1)
            index.write(np.arange(start, end, dtype="<i8").tobytes())


def _write_offsets(index: BinaryIO, store: TokenStore, shards: list[Shard], width: int) -> None:
    """Where each sequence begins in ``.bin``; needs one shard's documents in memory at a time."""
    before = 0
    for shard in shards:
        ends = shard_ends(store.root, shard).astype(np.int64)
        starts = ends - _lengths(store, shard) + before
        index.write((starts * width).astype("<i8").tobytes())
        before += shard.tokens


def _lengths(store: TokenStore, shard: Shard) -> np.ndarray:
    """Tokens of every document of a shard, shape (docs,), i64."""
    return np.diff(shard_ends(store.root, shard).astype(np.int64), prepend=0)


def _file_names(domains: list[str]) -> dict[str, str]:
    """Domain -> name of its files, with what a path cannot hold replaced; all different."""
    names: dict[str, str] = {}
    for domain in domains:
        name = re.sub(r"[^\w.-]+", "_", domain).strip(".") or "domain"
        while name in names.values():
            name += "_"
        names[domain] = name
    return names
