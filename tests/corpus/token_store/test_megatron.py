"""The export to Megatron against a reader written from the published format alone."""

import random
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from corpus.token_store import TokenStore, TokenStoreWriter
from corpus.token_store.megatron import export

TYPES = {4: "<i4", 8: "<u2"}


def read_documents(prefix: Path) -> list[list[int]]:
    """Documents of a ``.bin``/``.idx`` pair, number by number."""
    raw = Path(f"{prefix}.idx").read_bytes()
    assert raw[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, documents = struct.unpack_from("<QBQQ", raw, 9)
    assert version == 1
    place = 9 + 8 + 1 + 16
    lengths = struct.unpack_from(f"<{sequences}i", raw, place)
    place += 4 * sequences
    pointers = struct.unpack_from(f"<{sequences}q", raw, place)
    place += 8 * sequences
    ends = struct.unpack_from(f"<{documents}q", raw, place)
    assert place + 8 * documents == len(raw)
    assert ends[0] == 0
    tokens = Path(f"{prefix}.bin").read_bytes()
    found = []
    for first, last in pairwise(ends):
        document: list[int] = []
        for sequence in range(first, last):
            dtype = np.dtype(TYPES[code])
            start = pointers[sequence]
            piece = tokens[start : start + lengths[sequence] * dtype.itemsize]
            document += np.frombuffer(piece, dtype).tolist()
        found.append(document)
    return found


@pytest.mark.parametrize("vocab_size", [500, 200_000])
def test_every_document_is_read_back(tmp_path: Path, vocab_size: int) -> None:
    rng = random.Random()
    expected: dict[str, list[list[int]]] = {"a": [], "b/c": [], "b c": []}
    with TokenStoreWriter(
        tmp_path / "store", tokenizer_blake3="t", vocab_size=vocab_size, eos_id=3
    ) as writer:
        writer.meta.weights = {"a": 5, "b/c": 1, "b c": 2}
        for domain in ("a", "b/c", "a", "b c", "a"):
            writer.start_shard(domain)
            for uid in range(rng.randrange(1, 20)):
                ids = [rng.randrange(vocab_size) for _ in range(rng.randrange(30))]
                writer.add(uid, ids)
                expected[domain].append([*ids, 3])
    prefixes = export(TokenStore.open(tmp_path / "store"), tmp_path / "out")
    assert len(set(prefixes.values())) == 3
    assert {domain: read_documents(p) for domain, p in prefixes.items()} == expected
    blend = (tmp_path / "out" / "blend.txt").read_text().splitlines()
    assert [line.split(" ", 1)[0] for line in blend] == ["5", "2", "1"]
    assert [line.split(" ", 1)[1] for line in blend] == [str(p) for p in prefixes.values()]
